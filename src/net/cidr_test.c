/* SPDX-License-Identifier: Apache-2.0 */
#include "net/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/un.h>
/* cmocka.h needs these above */
#include <cmocka.h>

static struct sockaddr_storage address(const char *ip)
{
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *in4 = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
    if (inet_pton(AF_INET, ip, &in4->sin_addr) == 1) {
        sa.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, ip, &in6->sin6_addr), 1);
        sa.ss_family = AF_INET6;
    }
    return sa;
}

static bool has(const char *networks, const char *ip)
{
    struct cidr_list list;
    struct sockaddr_storage sa = address(ip);
    assert_true(cidr_list_parse(str_c(networks), &list));
    return cidr_list_has(&list, (struct sockaddr *)&sa);
}

static void an_address_is_in_its_networks(void **state)
{
    static const struct {
        const char *networks, *ip;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"192.168.4.0/22", "192.168.7.255", true},
        {"192.168.4.0/22", "192.168.8.0", false},
        {"192.168.4.7", "192.168.4.7", true},
        {"192.168.4.7", "192.168.4.6", false},
        {"192.168.4.6/31", "192.168.4.7", true},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "8.8.8.8", true},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {" 10.0.0.1 , ::1 ", "::1", true},
        {"10.0.0.1,::1", "10.0.0.2", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (has(rows[i].networks, rows[i].ip) != rows[i].in) {
            fail_msg("%s in %s", rows[i].ip, rows[i].networks);
        }
    }
}

static void a_unix_socket_is_in_no_network(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct cidr_list list;
    assert_true(cidr_list_parse(STR("::/0"), &list));
    assert_false(cidr_list_has(&list, (struct sockaddr *)&un));
}

static void malformed_networks_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "10.0.0.1,",
                                      "10.0.0/8",
                                      "10.0.0.0/33",
                                      "10.0.0.0/",
                                      "10.0.0.1/8",
                                      "::1/127",
                                      "::/129",
                                      "host",
                                      "10.0.0.0/8/8",
                                      "10.0.0.0/-1",
                                      "10.0.0.0 8",
                                      "[::1]",
                                      "10.0.0.0/a",
                                      "1.2.3.4:5432",
                                      "10.0.0.1 10.0.0.2",
                                      "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
    struct cidr_list list = {.n = 99};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (cidr_list_parse(str_c(bad[i]), &list)) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_int_equal(list.n, 99);
}

static void the_list_has_a_limit(void **state)
{
    char text[(CIDR_LIST + 1) * 8] = "";
    struct cidr_list list;
    for (int i = 0; i < CIDR_LIST; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s1.1.1.1", i ? "," : "");
    }
    assert_true(cidr_list_parse(str_c(text), &list));
    assert_int_equal(list.n, CIDR_LIST);
    memcpy(text + strlen(text), ",::1", 5);
    assert_false(cidr_list_parse(str_c(text), &list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_in_its_networks),
        cmocka_unit_test(a_unix_socket_is_in_no_network),
        cmocka_unit_test(malformed_networks_are_refused),
        cmocka_unit_test(the_list_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
