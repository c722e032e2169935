/*
 * src/value: JSON and structured clone, read and written. What real Node makes of the same is compared in
 * tests/value.sh; here are the cases that somebody thought of.
 */
#include "harness/watch.h"

#include "value/json.h"
#include "value/number.h"
#include "value/v8.h"
#include "value/writer.h"

#include <math.h>
#include <stdio.h>

/* --- small things to test with --- */

static void value_done(void *value) {
    brood_value_done(value);
    free(value);
}

/* JSON that is read, and given back when the test is over. */
static brood_value parsed(const char *text) {
    brood_value *value = calloc(1, sizeof *value);
    ENSURE(value);
    ENSURE(brood_value_parse(text, BROOD_NUL, value, NULL) == 0);
    DEFER(value_done, value);
    return *value;
}

static void writer_done(void *writer) {
    brood__writer_done(writer);
    free(writer);
}

static brood_writer *writer_new(bool advanced) {
    brood_writer *w = calloc(1, sizeof *w);
    ENSURE(w);
    w->advanced = advanced;
    DEFER(writer_done, w);
    brood__writer_begin(w);
    return w;
}

/* What was written, as text; "error N" if it failed. */
static const char *written(brood_writer *w) {
    int r = brood__writer_finish(w);
    if (r < 0)
        return test_format("error %d", r);
    return test_format("%.*s", (int)w->len, w->bytes);
}

static const char *rewritten(const char *text) {
    brood_writer *w = writer_new(false);
    brood_writer_value(w, parsed(text));
    return written(w);
}

static const char *hex(const char *bytes, size_t len) {
    char *text = test_alloc(2 * len + 1);
    for (size_t i = 0; i < len; i++)
        sprintf(text + 2 * i, "%02x", (uint8_t)bytes[i]);
    return text;
}

static const char *written_hex(brood_writer *w) {
    int r = brood__writer_finish(w);
    return r < 0 ? test_format("error %d", r) : hex(w->bytes, w->len);
}

/* --- JSON, read --- */

TEST(json_reads_what_json_parse_reads) {
    static const struct {
        const char *text, *same;
    } cases[] = {
        {" \t\r\n1 ", "1"},
        {"-0", "0"},
        {"0.1", "0.1"},
        {"1e400", "null"}, /* Infinity */
        {"-1E+2", "-100"},
        {"9007199254740993", "9007199254740992"},
        {"123456789012345678901234567890", "1.2345678901234568e+29"},
        {"1e21", "1e+21"},
        {"123456789012345680000", "123456789012345680000"},
        {"5e-324", "5e-324"},
        {"0.000001", "0.000001"},
        {"1e-7", "1e-7"},
        {"\"\"", "\"\""},
        {"\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\\\\/\\\"\"", "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\\/\\\"\""},
        {"\"\\ud83d\\ude00\\u20AC\\u00e9\"", "\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\""},
        {"\"\\ud800\"", "\"\\ud800\""},
        {"\"\\ud800\\u0041\\udc00\\ud800\\ud800\\udc00\"", "\"\\ud800A\\udc00\\ud800\xf0\x90\x80\x80\""},
        {"\"\x7f\xc2\x80\"", "\"\x7f\xc2\x80\""},
        {"[ ]", "[]"},
        {"[[[]],{}, { } ,[1,[2]]]", "[[[]],{},{},[1,[2]]]"},
        {" { \"a\" : [ true , false , null ] } ", "{\"a\":[true,false,null]}"},
        {"{\"\":1,\"__proto__\":2}", "{\"\":1,\"__proto__\":2}"},
        {"{\"a\":1,\"b\":2,\"a\":[3,{\"c\":4}]}", "{\"a\":[3,{\"c\":4}],\"b\":2}"},
        {"{\"\":1,\"\":2}", "{\"\":2}"},
        {"{\"axb\":1,\"ayb\":[{\"axb\":2}],\"axb\":3}",
         "{\"axb\":3,\"ayb\":[{\"axb\":2}]}"}, /* ends and length are the same */
        {"{\"a\":1,\"q\":2,\"ae\":3,\"qe\":4}", "{\"a\":1,\"q\":2,\"ae\":3,\"qe\":4}"},
        {"{\"a\":{\"x\":[1,2]},\"a\":0,\"b\":{\"c\":1,\"c\":2},\"a\":5}", "{\"a\":5,\"b\":{\"c\":2}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(rewritten(cases[i].text), cases[i].same);
}

TEST(json_refuses_what_json_parse_refuses) {
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"", 0},
        {" ", 1},
        {"{", 1},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1 2]", 3},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{a:1}", 1},
        {"{\"a\":1,}", 7},
        {"[1}", 2},
        {"]", 0},
        {"01", 1},
        {"-", 0},
        {"1.", 0},
        {".5", 0},
        {"1e", 0},
        {"+1", 0},
        {"0x1", 1},
        {"NaN", 0},
        {"nul", 3},
        {"truex", 4},
        {"\"a", 2},
        {"\"\\x\"", 2},
        {"\"\t\"", 1},
        {"\"\\u12G4\"", 3},
        {"\"\\u12\"", 3},
        {"1 1", 2},
        {"\xef\xbb\xbf"
         "1",
         0},
        {"'a'", 0},
        {"\xc2\xa0"
         "1",
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        brood_value value = {0};
        size_t at = SIZE_MAX;
        CHECK_EQ(brood_value_parse(cases[i].text, BROOD_NUL, &value, &at), -EILSEQ);
        CHECK_STR(test_format("%s at %zu", cases[i].text, at), test_format("%s at %zu", cases[i].text, cases[i].at));
        CHECK_EQ(brood_value_type(value), BROOD_MISSING);
    }
}

TEST(json_is_refused_at_every_truncation) {
    const char *text = "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",{}],\"b\":true,\"c\":null}";
    for (size_t len = 0; len < strlen(text); len++) {
        brood_value value;
        char *exact = malloc(len + 1); /* so that a sanitizer sees a byte too far */
        CHECK(exact);
        memcpy(exact, text, len);
        int r = brood_value_parse(exact, len, &value, NULL);
        free(exact);
        CHECK_EQ(r, -EILSEQ);
    }
}

TEST(json_holds_no_nul_byte) {
    brood_value value;
    size_t at;
    CHECK_EQ(brood_value_parse("[1,\0]", 5, &value, &at), -EILSEQ);
    CHECK_EQ(at, 3);
    CHECK_EQ(brood_value_parse("\"a\0b\"", 5, &value, &at), -EILSEQ);
    CHECK_EQ(brood_value_parse("1\0", 2, &value, &at), -EILSEQ);
}

/* Unicode 15, table 3-8: one U+FFFD for each of the longest parts that could begin a character */
TEST(json_replaces_what_is_no_utf8) {
    CHECK_STR(rewritten("\"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64\""),
              "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
              "b\xef\xbf\xbd"
              "c\xef\xbf\xbd\xef\xbf\xbd"
              "d\"");
    CHECK_STR(
        rewritten("[\"\\\"\xff\\n\xff\",\"\xed\xa0\x80\",\"\xc0\xaf\"]"),
        "[\"\\\"\xef\xbf\xbd\\n\xef\xbf\xbd\",\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"\xef\xbf\xbd\xef\xbf\xbd\"]");
}

/* text is looked at in blocks: whatever is in it, wherever it is, and however little is behind it */
TEST(json_strings_are_the_same_at_every_offset) {
    static const char *const special[] = {"", "\"", "\\", "\n", "\x1f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    brood_writer w = {0};
    for (size_t len = 0; len < 50; len++)
        for (size_t at = 0; at <= len; at++)
            for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
                size_t middle = strlen(special[i]), size = len + middle, offset;
                char *text = malloc(size ? size : 1); /* one byte too far is seen by a sanitizer */
                ENSURE(text);
                memset(text, 'a', size);
                memcpy(text + at, special[i], middle);
                w.len = 0;
                brood__writer_begin(&w);
                brood_writer_string(&w, text, size);
                ENSURE(brood__writer_finish(&w) == 0);
                brood__document document = {0};
                char *json = malloc(w.len + BROOD__JSON_SLACK);
                const char *read;
                size_t read_size;
                ENSURE(json);
                memcpy(json, w.bytes, w.len);
                ENSURE(brood__json_check(json, w.len, 1, &offset) == 0);
                ENSURE(brood__json_read(&document, json, w.len, 1, &offset) == 0);
                ENSURE(brood_value_string((brood_value){&document, 0}, &read, &read_size) == 0);
                ENSURE(read_size == size && memcmp(read, text, size) == 0 && read[size] == 0);
                brood__document_done(&document);
                free(json);
                free(text);
            }
    brood__writer_done(&w);
}

TEST(json_keeps_the_last_of_two_names) {
    for (int count = 2; count < 40; count++)
        for (int size = 1; size < 20;
             size += size < 10 ? 1 : 4) { /* bytes of a name: up to its last one all are alike */
            char text[2048] = "{", *to = text + 1;
            for (int i = 0; i < count; i++)
                to +=
                    sprintf(to, "\"%.*s%c\":%d,", size - 1, "namesnamesnamesnames", i == count - 1 ? '0' : '0' + i, i);
            to[-1] = '}';
            brood_value value = parsed(text);
            int64_t first;
            CHECK_EQ(brood_value_count(value), count - 1);
            CHECK_EQ(brood_value_int64(brood_value_at(value, 0, NULL), &first), 0);
            CHECK_EQ(first, count - 1);
        }
}

TEST(json_has_a_ceiling_of_depth) {
    char text[2048];
    brood_value value;
    memset(text, '[', 1000);
    memset(text + 1000, ']', 1000);
    CHECK_EQ(brood_value_parse(text, 2000, &value, NULL), 0);
    brood_value_done(&value);
    memset(text, '[', 1001);
    memset(text + 1001, ']', 1001);
    CHECK_EQ(brood_value_parse(text, 2002, &value, NULL), -E2BIG);
}

TEST(json_with_very_many_names) {
    enum { COUNT = 5000 };
    size_t len = 0;
    char *text = test_alloc(COUNT * 32);
    int64_t number = 0;
    for (int i = 0; i < COUNT; i++)
        len += (size_t)sprintf(text + len, "%c\"name%d\":%d", i ? ',' : '{', i % (COUNT - 1), i);
    text[len] = '}';
    brood_value value = parsed(text);
    CHECK_EQ(brood_value_count(value), COUNT - 1);
    CHECK_EQ(brood_value_int64(brood_value_get(value, "name0"), &number), 0);
    CHECK_EQ(number, COUNT - 1);
    for (int i = COUNT - 2; i > 0; i -= 7) {
        CHECK_EQ(brood_value_int64(brood_value_get(value, test_format("name%d", i)), &number), 0);
        CHECK_EQ(number, i);
    }
}

TEST_TORTURE(json_of_all_kinds_when_memory_ends) {
    brood_value value, copy = {0};
    char text[4096] = "{\"a\":1,\"a\":[\"\xff\",2]";
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), ",\"n%d\":[]", i);
    strcat(text, "}");
    int r = brood_value_parse(text, BROOD_NUL, &value, NULL);
    CHECK(r == 0 || (t->torture && r == -ENOMEM));
    if (r < 0)
        return;
    r = brood_value_take(brood_value_get(value, "a"), &copy);
    brood_value_done(&value);
    CHECK(r == 0 || (t->torture && r == -ENOMEM));
    CHECK(r < 0 || brood_value_count(copy) == 2);
    brood_value_done(&copy);
}

/* --- the view --- */

TEST(value_lookups_chain) {
    brood_value message = parsed("{\"job\":{\"size\":[640,480]},\"x\":null}");
    int64_t number = 7;
    CHECK_EQ(
        brood_value_int64(brood_value_at(brood_value_get(brood_value_get(message, "job"), "size"), 1, NULL), &number),
        0);
    CHECK_EQ(number, 480);
    CHECK_EQ(brood_value_int64(brood_value_get(brood_value_get(message, "jab"), "size"), &number), -ENOENT);
    CHECK_EQ(brood_value_int64(brood_value_get(message, "job"), &number), -EPROTOTYPE);
    CHECK_EQ(brood_value_int64(brood_value_get(message, "x"), &number), -EPROTOTYPE);
    CHECK_EQ(number, 480);
    CHECK_EQ(brood_value_type(brood_value_get(parsed("[1]"), "x")), BROOD_MISSING);
    CHECK_EQ(brood_value_type(brood_value_get(parsed("1"), "x")), BROOD_MISSING);
    CHECK_EQ(brood_value_count(brood_value_get(message, "nothing")), 0);
}

TEST(value_numbers_have_ranges) {
    brood_value numbers =
        parsed("[1.5,9223372036854775807,-9223372036854775808,18446744073709549568,-1,1e400,4294967296]");
    int64_t number;
    uint64_t unsigned_number;
    double real;
    CHECK_EQ(brood_value_int64(brood_value_at(numbers, 0, NULL), &number), -ERANGE);
    CHECK_EQ(brood_value_int64(brood_value_at(numbers, 1, NULL), &number), -ERANGE); /* it is 2^63 */
    CHECK_EQ(brood_value_int64(brood_value_at(numbers, 2, NULL), &number), 0);
    CHECK(number == INT64_MIN);
    CHECK_EQ(brood_value_uint64(brood_value_at(numbers, 1, NULL), &unsigned_number), 0);
    CHECK(unsigned_number == UINT64_C(1) << 63);
    CHECK_EQ(brood_value_uint64(brood_value_at(numbers, 3, NULL), &unsigned_number), 0);
    CHECK(unsigned_number == UINT64_C(18446744073709549568));
    CHECK_EQ(brood_value_uint64(brood_value_at(numbers, 4, NULL), &unsigned_number), -ERANGE);
    CHECK_EQ(brood_value_int64(brood_value_at(numbers, 5, NULL), &number), -ERANGE);
    CHECK_EQ(brood_value_double(brood_value_at(numbers, 5, NULL), &real), 0);
    CHECK(isinf(real));
    CHECK_EQ(brood_value_int64(brood_value_at(numbers, 6, NULL), &number), 0);
    CHECK(number == INT64_C(4294967296));
    CHECK_EQ(brood_value_double(brood_value_at(numbers, 7, NULL), &real), -ENOENT);
}

TEST(value_string_with_a_nul_wants_its_length) {
    const char *text = NULL;
    size_t len = 0;
    brood_value value = parsed("\"a\\u0000b\"");
    CHECK_EQ(brood_value_string(value, &text, NULL), -EILSEQ);
    CHECK(!text);
    CHECK_EQ(brood_value_string(value, &text, &len), 0);
    CHECK_EQ(len, 3);
    CHECK(memcmp(text, "a\0b", 4) == 0);
    CHECK_EQ(brood_value_string(parsed("\"abc\""), &text, NULL), 0);
    CHECK_STR(text, "abc");
}

/* however one goes: forwards, backwards, over each other */
TEST(value_at_is_the_same_from_wherever_it_comes) {
    brood_value list = parsed("[[0],1,{\"a\":2},[3,3],\"4\",[],[[6]]]"), key;
    brood_value object = parsed("{\"a\":0,\"b\":[1,1],\"c\":{\"x\":2},\"d\":3}");
    CHECK_EQ(brood_value_count(list), 7);
    for (size_t step = 1; step < 7; step++) {
        for (size_t i = 0; i < 7; i++) {
            brood_value element = brood_value_at(list, i * step % 7, &key);
            CHECK_EQ(brood_value_type(key), BROOD_MISSING);
            CHECK(brood_value_is_same(element, brood_value_at(list, i * step % 7, NULL)));
            CHECK_EQ(brood_value_type(brood_value_at(element, i, NULL)),
                     brood_value_type(brood_value_at(element, i, NULL)));
        }
    }
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 16; i-- > 0;) {
        const char *name;
        brood_value member = brood_value_at(object, i % 4, &key);
        CHECK_EQ(brood_value_string(key, &name, NULL), 0);
        CHECK_STR(name, names[i % 4]);
        CHECK(brood_value_is_same(member, brood_value_get(object, names[i % 4])));
        CHECK(brood_value_is_same(brood_value_at(object, i / 4, NULL), brood_value_get(object, names[i / 4])));
    }
    CHECK_EQ(brood_value_type(brood_value_at(object, 4, &key)), BROOD_MISSING);
    CHECK_EQ(brood_value_type(key), BROOD_MISSING);
    CHECK_EQ(brood_value_type(brood_value_at(list, 7, NULL)), BROOD_MISSING);
    CHECK_EQ(brood_value_type(brood_value_at(list, SIZE_MAX, NULL)), BROOD_MISSING);
}

TEST(value_taken_outlives_what_it_came_from) {
    brood_value copy, value;
    CHECK_EQ(brood_value_parse("{\"a\":{\"b\":[\"text\",{\"c\":\"\xff\"}]}}", BROOD_NUL, &value, NULL), 0);
    CHECK_EQ(brood_value_take(brood_value_get(brood_value_get(value, "a"), "b"), &copy), 0);
    brood_value_done(&value);
    CHECK_EQ(brood_value_type(value), BROOD_MISSING);
    brood_writer *w = writer_new(false);
    brood_writer_value(w, copy);
    brood_value_done(&copy);
    brood_value_done(&copy);
    CHECK_STR(written(w), "[\"text\",{\"c\":\"\xef\xbf\xbd\"}]");
    CHECK_EQ(brood_value_take(copy, &value), -ENOENT);
}

/* --- the writer --- */

static void write_a_little_of_all(brood_writer *w) {
    brood_writer_object(w);
    brood_writer_key(w, "none");
    brood_writer_undefined(w);
    brood_writer_key(w, "list");
    brood_writer_array(w);
    brood_writer_int64(w, -1);
    brood_writer_double(w, 0.5);
    brood_writer_double(w, -0.0);
    brood_writer_double(w, NAN);
    brood_writer_undefined(w);
    brood_writer_string(w, "\x01\"\xe2\x82\xac\xed\xa0\x80", BROOD_NUL);
    brood_writer_array(w);
    brood_writer_end(w);
    brood_writer_end(w);
    brood_writer_key(w, "7");
    brood_writer_bool(w, true);
    brood_writer_key(w, "b");
    brood_writer_bytes(w, "\0\xff", 2);
    brood_writer_key(w, "f");
    brood_writer_view(w, BROOD_FLOAT32_ARRAY, "\0\0\xc0\x3f", 4);
    brood_writer_key(w, "d");
    brood_writer_date(w, -1);
    brood_writer_key(w, "j");
    brood_writer_json(w, " [ 1,\n{\"x\":null} ] ", BROOD_NUL);
    brood_writer_end(w);
}

TEST(writer_makes_json) {
    brood_writer *w = writer_new(false);
    write_a_little_of_all(w);
    CHECK_STR(written(w), "{\"list\":[-1,0.5,0,null,null,\"\\u0001\\\"\xe2\x82\xac\\ud800\",[]],\"7\":true,"
                          "\"b\":{\"type\":\"Buffer\",\"data\":[0,255]},\"f\":{\"0\":1.5},"
                          "\"d\":\"1969-12-31T23:59:59.999Z\",\"j\": [ 1, {\"x\":null} ] }");
}

/* What was written, read again. */
static brood_value reread(brood_writer *w) {
    size_t at;
    brood__document *document = test_alloc(sizeof *document);
    ENSURE(brood__writer_finish(w) == 0);
    char *payload = test_alloc(w->len + 1);
    memcpy(payload, w->bytes, w->len);
    ENSURE(brood__v8_read(document, payload, w->len, BROOD__MAX_DEPTH, &at) == 0);
    DEFER(brood__document_done, document);
    return (brood_value){document, 0};
}

TEST(writer_makes_structured_clone) {
    brood_writer *w = writer_new(true), *json = writer_new(false);
    write_a_little_of_all(w);
    brood_value value = reread(w);
    brood_writer_value(json, value);
    CHECK_STR(written(json), "{\"list\":[-1,0.5,0,null,null,\"\\u0001\\\"\xe2\x82\xac\\ud800\",[]],\"7\":true,"
                             "\"b\":{\"type\":\"Buffer\",\"data\":[0,255]},\"f\":{\"0\":1.5},"
                             "\"d\":\"1969-12-31T23:59:59.999Z\",\"j\":[1,{\"x\":null}]}");
    CHECK_EQ(brood_value_count(value), 7);
    CHECK_EQ(brood_value_type(brood_value_get(value, "none")), BROOD_UNDEFINED);
    double number = 0;
    CHECK_EQ(brood_value_double(brood_value_at(brood_value_get(value, "list"), 2, NULL), &number), 0);
    CHECK(signbit(number));
    CHECK_EQ(brood_value_double(brood_value_at(brood_value_get(value, "list"), 3, NULL), &number), 0);
    CHECK(isnan(number));
}

TEST(writer_makes_what_only_structured_clone_has) {
    brood_writer *w = writer_new(true);
    const uint64_t words[] = {0, 1, 0};
    brood_writer_array(w);
    brood_writer_map(w);
    brood_writer_int64(w, 1);
    brood_writer_set(w);
    brood_writer_null(w);
    brood_writer_end(w);
    brood_writer_end(w);
    brood_writer_bigint(w, true, words, 3);
    brood_writer_regexp(w, "a+", "gi");
    brood_writer_error(w, "TypeError", "no");
    brood_writer_end(w);
    brood_value value = reread(w), key;
    const char *text;
    uint64_t back[2] = {0};
    bool negative = false;
    CHECK_EQ(brood_value_count(value), 4);
    brood_value set = brood_value_at(brood_value_at(value, 0, NULL), 0, &key);
    CHECK_EQ(brood_value_type(key), BROOD_NUMBER);
    CHECK_EQ(brood_value_type(set), BROOD_SET);
    CHECK_EQ(brood_value_count(set), 1);
    CHECK_EQ(brood_value_bigint(brood_value_at(value, 1, NULL), &negative, back, 2), 2);
    CHECK(negative && back[0] == 0 && back[1] == 1);
    CHECK_EQ(brood_value_int64(brood_value_at(value, 1, NULL), &(int64_t){0}), -ERANGE);
    CHECK_EQ(brood_value_string(brood_value_get(brood_value_at(value, 2, NULL), "flags"), &text, NULL), 0);
    CHECK_STR(text, "gi");
    CHECK_EQ(brood_value_string(brood_value_get(brood_value_at(value, 3, NULL), "stack"), &text, NULL), 0);
    CHECK_STR(text, "TypeError: no");
}

TEST(writer_of_json_refuses_what_json_has_not) {
    static void (*const calls[])(brood_writer *) = {brood_writer_map, brood_writer_set};
    for (size_t i = 0; i < 2; i++) {
        brood_writer *w = writer_new(false);
        calls[i](w);
        CHECK_EQ(brood_writer_status(w), -EPROTOTYPE);
        brood_writer_end(w);
        CHECK_STR(written(w), test_format("error %d", -EPROTOTYPE));
    }
    brood_writer *w = writer_new(false);
    brood_writer_bigint(w, false, NULL, 0);
    CHECK_EQ(brood_writer_status(w), -EPROTOTYPE);
}

/* an array's length takes one byte, then two, then three */
TEST(writer_knows_how_long_an_array_is_when_it_ends) {
    static const int lengths[] = {0, 1, 127, 128, 16383, 16384};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        brood_writer *w = writer_new(true);
        brood_writer_array(w);
        for (int k = 0; k < lengths[i]; k++)
            k % 3 ? brood_writer_int64(w, k) : brood_writer_string(w, "\xe2\x82\xac", 3);
        brood_writer_end(w);
        brood_value value = reread(w);
        CHECK_EQ(brood_value_count(value), lengths[i]);
        CHECK_EQ(brood_value_type(brood_value_at(value, (size_t)lengths[i], NULL)), BROOD_MISSING);
    }
}

static void key_in_array(brood_writer *w) {
    brood_writer_array(w);
    brood_writer_key(w, "a");
}

static void value_without_key(brood_writer *w) {
    brood_writer_object(w);
    brood_writer_null(w);
}

static void key_after_key(brood_writer *w) {
    brood_writer_object(w);
    brood_writer_key(w, "a");
    brood_writer_key(w, "b");
}

static void end_after_key(brood_writer *w) {
    brood_writer_object(w);
    brood_writer_key(w, "a");
    brood_writer_end(w);
}

static void end_too_many(brood_writer *w) {
    brood_writer_null(w);
    brood_writer_end(w);
}

static void value_too_many(brood_writer *w) {
    brood_writer_null(w);
    brood_writer_null(w);
}

static void end_too_few(brood_writer *w) {
    brood_writer_array(w);
}

static void nothing(brood_writer *w) {
    (void)w;
}

static void undefined_alone(brood_writer *w) {
    brood_writer_undefined(w);
}

TEST(writer_out_of_place_is_an_error) {
    static void (*const cases[])(brood_writer *) = {key_in_array,  value_without_key, key_after_key,
                                                    end_after_key, end_too_many,      value_too_many,
                                                    end_too_few,   nothing,           undefined_alone};
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        brood_writer *w = writer_new(i % 2);
        cases[i / 2](w);
        CHECK_STR(written(w), test_format("error %d", -EINVAL));
        CHECK_EQ(w->len, 0);
        brood__writer_begin(w); /* and it is as good as new */
        brood_writer_bool(w, true);
        CHECK_EQ(brood__writer_finish(w), 0);
    }
}

TEST(writer_checks_text) {
    for (int advanced = 0; advanced < 2; advanced++) {
        brood_writer *w = writer_new(advanced);
        brood_writer_string(w, "abc\xff", BROOD_NUL);
        CHECK_EQ(w->error_at, 3);
        CHECK_STR(written(w), test_format("error %d", -EILSEQ));
        w = writer_new(advanced);
        brood_writer_json(w, "[1,]", BROOD_NUL);
        CHECK_EQ(w->error_at, 3);
        CHECK_STR(written(w), test_format("error %d", -EILSEQ));
    }
    brood_writer *w = writer_new(false);
    brood_writer_json(w, "\"\xff\"", BROOD_NUL); /* read, it would be replaced; it is not sent */
    CHECK_EQ(w->error_at, 1);
    CHECK_STR(written(w), test_format("error %d", -EILSEQ));
}

TEST(writer_refuses_numbers_that_javascript_has_not) {
    static const int64_t fine[] = {
        0, -1, INT32_MAX, INT64_C(1) << 53, -(INT64_C(1) << 53), INT64_MIN, INT64_C(1) << 62};
    static const int64_t none[] = {(INT64_C(1) << 53) + 1, -(INT64_C(1) << 53) - 1, INT64_MAX};
    for (int advanced = 0; advanced < 2; advanced++) {
        for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
            brood_writer *w = writer_new(advanced);
            brood_writer_int64(w, fine[i]);
            CHECK_EQ(brood__writer_finish(w), 0);
        }
        for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
            brood_writer *w = writer_new(advanced);
            brood_writer_int64(w, none[i]);
            CHECK_EQ(brood__writer_finish(w), -ERANGE);
        }
    }
}

/* it would be the end of a Node process that reads it */
TEST(writer_of_structured_clone_refuses_a_name_twice) {
    for (int count = 2; count < 200; count += 90) {
        brood_writer *w = writer_new(true);
        brood_writer_object(w);
        for (int i = 0; i < count; i++) {
            brood_writer_key(w, test_format("%d", i == count - 1 ? 0 : i));
            brood_writer_object(w);
            brood_writer_key(w, "0");
            brood_writer_null(w);
            brood_writer_end(w);
        }
        brood_writer_end(w);
        CHECK_STR(written(w), test_format("error %d", -EEXIST));
    }
}

TEST(writer_has_a_ceiling_of_size) {
    for (int advanced = 0; advanced < 2; advanced++) {
        brood_writer *w = writer_new(advanced);
        w->max_len = 1000;
        brood_writer_array(w);
        for (int i = 0; i < 1000 && brood_writer_status(w) == 0; i++)
            brood_writer_string(w, "0123456789", 10);
        brood_writer_end(w);
        CHECK_EQ(brood__writer_finish(w), -EMSGSIZE);
        CHECK_EQ(w->len, 0);
    }
}

TEST(writer_has_a_ceiling_of_depth) {
    for (int advanced = 0; advanced < 2; advanced++)
        for (int depth = BROOD__MAX_DEPTH; depth <= BROOD__MAX_DEPTH + 1; depth++) {
            brood_writer *w = writer_new(advanced);
            for (int i = 0; i < depth; i++)
                brood_writer_array(w);
            for (int i = 0; i < depth; i++)
                brood_writer_end(w);
            CHECK_EQ(brood__writer_finish(w), depth > BROOD__MAX_DEPTH ? -E2BIG : 0);
        }
}

/* what is put into others counts with them: no reader would take more */
TEST(writer_counts_the_depth_of_what_it_copies) {
    char text[2 * BROOD__MAX_DEPTH + 1] = "";
    brood_value value;
    memset(text, '[', BROOD__MAX_DEPTH);
    memset(text + BROOD__MAX_DEPTH, ']', BROOD__MAX_DEPTH);
    CHECK_EQ(brood_value_parse(text, BROOD_NUL, &value, NULL), 0);
    for (int i = 0; i < 8; i++) {
        bool advanced = i & 1, json = i & 2, inside = i & 4;
        brood_writer *w = writer_new(advanced);
        if (inside)
            brood_writer_array(w);
        if (json)
            brood_writer_json(w, text, BROOD_NUL);
        else
            brood_writer_value(w, value);
        if (inside)
            brood_writer_end(w);
        CHECK_EQ(brood__writer_finish(w), inside ? -E2BIG : 0);
    }
    brood_value_done(&value);
}

/* its stack repeats the beginning of the message */
TEST(writer_cuts_no_character_of_an_error) {
    for (int at = 395; at < 405; at++) {
        char message[512];
        memset(message, 'x', sizeof message - 1);
        memcpy(message + at, "\xe2\x82\xac", 3);
        message[sizeof message - 1] = 0;
        brood_writer *w = writer_new(true);
        brood_writer_error(w, "TypeError", message);
        CHECK_EQ(brood__writer_finish(w), 0);
    }
}

TEST_TORTURE(writer_when_memory_ends) {
    for (int advanced = 0; advanced < 2; advanced++) {
        brood_writer *w = writer_new(advanced);
        write_a_little_of_all(w);
        int r = brood__writer_finish(w);
        CHECK(r == 0 || (t->torture && r == -ENOMEM));
        CHECK(r == 0 || w->len == 0);
    }
}

/* --- structured clone --- */

static void close_file(void *file) {
    fclose(file);
}

static size_t unhex(const char *text, char *bytes) {
    size_t len = 0;
    for (unsigned byte; sscanf(text + 2 * len, "%2x", &byte) == 1; len++)
        bytes[len] = (char)byte;
    return len;
}

/* Read a payload in hexadecimal: a value, or missing and the error. */
static brood_value read_hex(const char *text, int *ret_error) {
    brood__document *document = test_alloc(sizeof *document);
    char *bytes = test_alloc(strlen(text) / 2 + 1);
    size_t at, len = unhex(text, bytes);
    char *exact = malloc(len + 1);
    ENSURE(exact);
    memcpy(exact, bytes, len);
    DEFER(free, exact);
    DEFER(brood__document_done, document);
    *ret_error = brood__v8_read(document, exact, len, BROOD__MAX_DEPTH, &at);
    return *ret_error < 0 ? (brood_value){0} : (brood_value){document, 0};
}

/* What Node wrote, read and written again, is what Node wrote; but for what is lost knowingly. */
TEST(v8_reads_and_writes_as_node_does) {
    static const char *const lossy[] = {
        "[1.5,2]",      /* an array of doubles has doubles throughout: there is more than one way */
        "resizable AB", /* written as one that is not */
        "Error cause",  /* Node 20's order; written in Node 26's, which both read */
        "[native Pipe object with own property x=1]"};
    char line[4096];
    int count = 0;
    FILE *vectors = fopen(test_source("data/v8.txt"), "r");
    CHECK(vectors);
    DEFER(close_file, vectors);
    while (fgets(line, sizeof line, vectors)) {
        char *what = strchr(line, ' ');
        int error;
        bool loses = false;
        line[strcspn(line, "\n")] = 0;
        if (*line == '#')
            continue;
        *what++ = 0;
        count++;
        brood_value value = read_hex(line, &error);
        CHECK_STR(test_format("%s: %d", what, error), test_format("%s: 0", what));
        for (size_t i = 0; i < sizeof lossy / sizeof *lossy; i++)
            loses = loses || strcmp(what, lossy[i]) == 0;
        brood_writer *w = writer_new(true);
        if (brood_value_type(value) == BROOD_BIGINT || brood_value_type(value) == BROOD_UNDEFINED)
            continue;
        brood_writer_value(w, value);
        if (!loses)
            CHECK_STR(test_format("%s: %s", what, written_hex(w)), test_format("%s: %s", what, line));
    }
    CHECK_GT(count, 100);
}

TEST(v8_reads_what_node_reads_but_never_writes) {
    static const struct {
        const char *payload, *json;
    } cases[] = {
        {"ff0f5505", "5"},
        {"ff0f5a8080808008", "error -91"}, /* 0n, whose length has a bit too many; JSON has no bigints */
        {"ff0f523f006302ac2001", "{}"},    /* a regular expression whose pattern has a count of objects before it */
        {"ff0f55ffffffff0f", "4294967295"},
        {"ff0f5303e282ac", "\"\xe2\x82\xac\""},
        {"ff0f530201ff", "\"\\u0001\xef\xbf\xbd\""},
        {"ff0f2201616302ac20", "\"a\""},
        {"ff0f41016302ac20240001", "[\"\xe2\x82\xac\"]"},
        {"ff0f0000004902", "1"},
        {"ff0f41022d4902240002", "[null,1]"},
        {"ff0f3f054902", "1"},
        {"ff0f42030102035642010200", "{\"0\":2,\"1\":3}"},
        {"ff0d420301020356420102", "{\"0\":2,\"1\":3}"},
        {"ff0e4902", "1"},
        {"ff0f61054904220178400105", "[null,null,\"x\",null,null]"},
        {"ff0f6f49022201784e00000000000004402201797b02", "{\"1\":\"x\",\"2.5\":\"y\"}"},
        {"ff0f49ffffffff1f", "-2147483648"},
        {"ff0f4980808080808000", "0"},
        {"ff0f4e010000000000f87f", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int error;
        brood_writer *w = writer_new(false);
        brood_writer_value(w, read_hex(cases[i].payload, &error));
        CHECK_STR(test_format("%s %s", cases[i].payload, written(w)),
                  test_format("%s %s", cases[i].payload, cases[i].json));
    }
}

TEST(v8_refuses_what_node_refuses) {
    static const char *const cases[] = {
        "",
        "ff",
        "ff0f",
        "4902",
        "ff104902",
        "ff0c4902",
        "ff0f71",
        "ff0f4b",
        "ff0f7001",
        "ff0f7500",
        "ff0f6f22016149027b02",
        "ff0f41024902240002",
        "ff0f5e05",
        "ff0f6f484902",
        "ff0f5a01",
        "ff0f6f220161490222016149047b02",
        "ff0f5c63020101",
        "ff0f522201618020",
        "ff0f52220161c001",
        "ff0f420301020356420102",
        "ff0f42030102035642020200",
        "ff0f4e0000",
        "ff0f2205616263",
        "ff0f6303616263",
        "ff0f41ffffffff0f",
        "ff0f5cffffffff0f",
        "ff0f5c0a026869",
        "ff0f5c015e00",
        "ff0f5c014902",
        "ff0f726d4902",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int error;
        read_hex(cases[i], &error);
        CHECK_STR(test_format("%s %d", cases[i], error), test_format("%s %d", cases[i], -EBADMSG));
    }
}

TEST(v8_is_refused_at_every_truncation) {
    char line[4096], payload[2048];
    FILE *vectors = fopen(test_source("data/v8.txt"), "r");
    CHECK(vectors);
    DEFER(close_file, vectors);
    while (fgets(line, sizeof line, vectors)) {
        char *end = strchr(line, ' ');
        *end = 0;
        size_t len = unhex(line, payload), at;
        for (size_t cut = 0; *line != '#' && cut < len; cut++) {
            brood__document document = {0};
            char *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a byte too far */
            CHECK(exact);
            memcpy(exact, payload, cut);
            int error = brood__v8_read(&document, exact, cut, BROOD__MAX_DEPTH, &at);
            brood__document_done(&document);
            free(exact);
            CHECK_STR(test_format("%s, %zu bytes: %d", end + 1, cut, error),
                      test_format("%s, %zu bytes: %d", end + 1, cut, -EBADMSG));
        }
    }
}

TEST(v8_has_a_ceiling_of_depth) {
    static const char *const nests[] = {"4101", "5c01", "7263"};
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++) {
        char text[5000] = "ff0f";
        int error;
        for (int k = 0; k < 1001; k++)
            strcat(text, nests[i]);
        read_hex(text, &error);
        CHECK_EQ(error, -E2BIG);
    }
}

/* five bytes say that there are four thousand million elements */
TEST(v8_array_of_holes_costs_what_it_is_long) {
    int error;
    brood_value key, holes = read_hex("ff0f61ffffffff0f490222016122017849064001ffffffff0f", &error);
    CHECK_EQ(error, -EBADMSG); /* it says one, and has two */
    holes = read_hex("ff0f61ffffffff0f490222016122017849064002ffffffff0f", &error);
    CHECK_EQ(error, 0);
    CHECK_EQ(brood_value_count(holes), UINT32_MAX);
    CHECK_EQ(brood_value_type(brood_value_at(holes, 1, &key)), BROOD_STRING);
    CHECK_EQ(brood_value_type(key), BROOD_MISSING);
    CHECK_EQ(brood_value_type(brood_value_at(holes, UINT32_MAX - 1, NULL)), BROOD_UNDEFINED);
    CHECK_EQ(brood_value_type(brood_value_at(holes, UINT32_MAX, &key)), BROOD_NUMBER);
    CHECK_EQ(brood_value_type(key), BROOD_STRING);
    CHECK_EQ(brood_value_type(brood_value_get(holes, "x")), BROOD_NUMBER);
    CHECK_EQ(brood_value_type(brood_value_at(holes, (size_t)UINT32_MAX + 1, NULL)), BROOD_MISSING);
}

TEST(v8_cycle_is_walked_and_kept) {
    int error;
    brood_value copy, self = read_hex("ff0f6f220473656c665e0022016e49027b02", &error);
    CHECK_EQ(error, 0);
    CHECK(brood_value_is_same(self, brood_value_get(brood_value_get(self, "self"), "self")));
    CHECK_EQ(brood_value_take(brood_value_get(self, "self"), &copy), 0);
    CHECK_EQ(brood_value_type(brood_value_get(brood_value_get(copy, "self"), "n")), BROOD_NUMBER);
    brood_writer *json = writer_new(false), *w = writer_new(true);
    brood_writer_value(json, copy);
    CHECK_STR(written(json), test_format("error %d", -ELOOP));
    brood_writer_array(w);
    brood_writer_value(w, copy);
    brood_writer_end(w);
    brood_value_done(&copy);
    brood_value again = brood_value_at(reread(w), 0, NULL);
    CHECK(brood_value_is_same(again, brood_value_get(again, "self")));
}

/* a part that refers to what is outside of it takes that along */
TEST(v8_part_is_copied_with_what_it_refers_to) {
    int error;
    brood_value list = read_hex("ff0f41026f220161490a7b016f22016f5e0122016c5e007b02240002", &error);
    CHECK_EQ(error, 0);
    brood_writer *w = writer_new(true);
    brood_writer_value(w, brood_value_at(list, 1, NULL));
    brood_value part = reread(w);
    int64_t number = 0;
    CHECK_EQ(brood_value_int64(brood_value_get(brood_value_get(part, "o"), "a"), &number), 0);
    CHECK_EQ(number, 5);
    CHECK(brood_value_is_same(part, brood_value_at(brood_value_get(part, "l"), 1, NULL)));
}

TEST_TORTURE(v8_when_memory_ends) {
    brood__document document = {0};
    size_t at;
    char payload[] = "\xff\x0f"
                     "A\x02"
                     "\"\x01\xe9"
                     "c\x02\xac\x20"
                     "$\0\x02";
    int r = brood__v8_read(&document, payload, sizeof payload - 1, BROOD__MAX_DEPTH, &at);
    brood__document_done(&document);
    CHECK(r == 0 || (t->torture && r == -ENOMEM));
}

TEST(document_has_a_ceiling_of_nodes) {
    brood__document document = {.max_nodes = 100};
    size_t at;
    char text[512] = "[0";
    for (int i = 0; i < 98; i++)
        strcat(text, ",1");
    char more[512];
    memcpy(more, text, sizeof more);
    strcat(text, "]");
    strcat(more, ",1]");
    CHECK_EQ(brood__json_read(&document, text, strlen(text), BROOD__MAX_DEPTH, &at), 0);
    brood__document_reset(&document);
    CHECK_EQ(brood__json_read(&document, more, strlen(more), BROOD__MAX_DEPTH, &at), -E2BIG);
    brood__document_done(&document);
}

/* --- numbers --- */

/* Digits that read back the same, and none shorter that do: checked against the C library's. */
TEST(number_is_written_as_short_as_can_be) {
    uint64_t bits = 88172645463325252;
    for (int i = 0; i < (t->brief ? 1000 : 20000); i++) {
        char text[BROOD__NUMBER_SIZE + 1], shorter[40];
        double number, back;
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number))
            continue;
        text[brood__number_write(number, text)] = 0;
        CHECK(strtod(text, NULL) == number);
        CHECK(brood__number_read(text, text + strlen(text), &back) && back == number);
        int digits = 0;
        for (const char *p = text; *p && *p != 'e'; p++)
            digits += *p >= '0' && *p <= '9';
        if (digits < 2 || strchr(text, 'e') == NULL)
            continue;
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, number);
        CHECK(strtod(shorter, NULL) != number);
    }
}

TEST(number_is_read_to_the_nearest) {
    static const char *const hard[] = {"2.2250738585072011e-308",
                                       "2.2250738585072014e-308",
                                       "4.9406564584124654e-324",
                                       "2.4703282292062327e-324",
                                       "2.4703282292062328e-324",
                                       "1.7976931348623157e308",
                                       "1.7976931348623158e308",
                                       "1.7976931348623159e308",
                                       "9007199254740993",
                                       "9007199254740992.99999999999999999999999999999999999999999",
                                       "9007199254740993.00000000000000000000000000000000000000001",
                                       "0.1e-400",
                                       "123456789012345678901234567890e-20",
                                       "7.3177701707893310e+15",
                                       "8.5e-323",
                                       "1e23",
                                       "8.41e21",
                                       "5e-1",
                                       "100000000000000016777215",
                                       "100000000000000016777216"};
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++) {
        double number;
        const char *end = hard[i] + strlen(hard[i]);
        CHECK(brood__number_read(hard[i], end, &number) == end);
        CHECK(number == strtod(hard[i], NULL));
    }
}
