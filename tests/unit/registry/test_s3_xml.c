/* What S3 answers, as its API reference prints it, and what is no such answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "registry/storage/s3_xml.h"

#define HEAD      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NAMESPACE " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static void an_error_has_a_code_and_a_message(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "<Error>\n  <Code>NoSuchKey</Code>\n  <Message>The resource you requested does "
             "not exist &amp; never did</Message>\n  "
             "<Resource>/mybucket/myfoto.jpg</Resource>\n</Error>";
    struct s3_failure failure;
    assert_true(s3_xml_read_failure(text, strlen(text), &failure));
    assert_string_equal(failure.code, "NoSuchKey");
    assert_string_equal(failure.message, "The resource you requested does not exist & never did");
}

static void an_error_without_a_code_or_of_endless_text_is_bounded(void **state)
{
    (void)state;
    struct s3_failure failure;
    static const char without[] = "<Error><Message>why</Message></Error>";
    assert_false(s3_xml_read_failure(without, strlen(without), &failure));
    AUTO_FREE char *message = xcalloc(1, 5001);
    memset(message, 'm', 5000);
    AUTO_FREE char *text =
        xasprintf("<Error><Code>%s</Code><Message>%s</Message></Error>", message, message);
    assert_true(s3_xml_read_failure(text, strlen(text), &failure));
    assert_int_equal(strlen(failure.code), sizeof failure.code - 1);
    assert_int_equal(strlen(failure.message), sizeof failure.message - 1);
}

static void an_upload_has_an_id(void **state)
{
    (void)state;
    static const char text[] = HEAD "<InitiateMultipartUploadResult" NAMESPACE "><Bucket>b</Bucket>"
                                    "<Key>k</Key><UploadId>VXBsb2FkIElE.x-_</UploadId>"
                                    "</InitiateMultipartUploadResult>";
    AUTO_FREE char *id = NULL;
    assert_int_equal(s3_xml_read_upload_id(text, strlen(text), &id, NULL), 0);
    assert_string_equal(id, "VXBsb2FkIElE.x-_");
}

static void a_page_has_objects_and_the_way_to_the_next(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "<ListBucketResult" NAMESPACE "><Name>b</Name><Prefix/><IsTruncated>true</IsTruncated>"
             "<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</"
             "NextContinuationToken>"
             "<Contents><Key>a/1</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>"
             "<Size>434234</Size></Contents>"
             "<Contents><Key>a/2</Key><LastModified>1970-01-01T00:00:01Z</LastModified>"
             "<Size>0</Size></Contents></ListBucketResult>";
    struct s3_page page;
    assert_int_equal(s3_xml_read_page(text, strlen(text), &page, NULL), 0);
    assert_int_equal(page.count, 2);
    assert_string_equal(page.objects[0].key, "a/1");
    assert_int_equal(page.objects[0].size, 434234);
    assert_int_equal(page.objects[0].modified_s, 1255369830);
    assert_int_equal(page.objects[1].size, 0);
    assert_int_equal(page.objects[1].modified_s, 1);
    assert_string_equal(page.next, "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=");
    s3_page_release(&page);
}

static void assert_no_page(const char *text)
{
    struct s3_page page = {.count = 77};
    struct error error = ERROR_INIT;
    assert_int_equal(s3_xml_read_page(text, strlen(text), &page, &error), -1);
    assert_int_equal(error.code, ERROR_INTERNAL);
    assert_int_equal(page.count, 77);
}

static void what_is_no_page_is_refused(void **state)
{
    (void)state;
    assert_no_page("");
    assert_no_page("no XML at all");
    assert_no_page("<html><body>502</body></html>");
    assert_no_page("<ListBucketResult><IsTruncated>false</IsTruncated>"); /* cut off */
    assert_no_page("<ListBucketResult></ListBucketResult>");
    /* More is to come, and no way to it. */
    assert_no_page("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>");
#define ONE(size, time)                                                                            \
    "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>" size          \
    "</Size><LastModified>" time "</LastModified></Contents></ListBucketResult>"
    assert_no_page(ONE("-1", "2009-10-12T17:50:30.000Z"));
    assert_no_page(ONE("99999999999999999999", "2009-10-12T17:50:30.000Z"));
    assert_no_page(ONE("1", "yesterday"));
}

static void a_page_of_too_many_objects_is_refused(void **state)
{
    (void)state;
    AUTO_BUFFER struct buffer text = {0};
    buffer_append_text(&text, "<ListBucketResult><IsTruncated>false</IsTruncated>");
    for (unsigned i = 0; i < 1001; i++)
        buffer_append_text(&text, "<Contents><Key>k</Key><Size>1</Size><LastModified>2009-10-12T17:"
                                  "50:30.000Z</LastModified></Contents>");
    buffer_append_text(&text, "</ListBucketResult>");
    assert_no_page(buffer_text(&text));
}

static void a_document_type_is_never_read(void **state)
{
    (void)state;
    struct s3_failure failure;
    static const char entity[] = "<!DOCTYPE Error [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"
                                 "<Error><Code>&x;</Code><Message>m</Message></Error>";
    static const char laughs[] = "<!DOCTYPE Error [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">]>"
                                 "<Error><Code>&b;</Code></Error>";
    assert_false(s3_xml_read_failure(entity, strlen(entity), &failure));
    assert_false(s3_xml_read_failure(laughs, strlen(laughs), &failure));
    /* In UTF-16, where no search for its bytes finds it. */
    char wide[2 * sizeof laughs] = {(char)0xff, (char)0xfe};
    for (size_t i = 0; i + 1 < sizeof laughs; i++)
        wide[2 + 2 * i] = laughs[i];
    assert_false(s3_xml_read_failure(wide, 2 * sizeof laughs, &failure));
}

static void a_document_of_many_levels_is_refused(void **state)
{
    (void)state;
    struct s3_failure failure;
    static const char few[] =
        "<Error><a><b><c><d><e><f/></e></d></c></b></a><Code>X</Code></Error>";
    static const char many[] =
        "<Error><a><b><c><d><e><f><g><h/></g></f></e></d></c></b></a><Code>X</Code></Error>";
    assert_true(s3_xml_read_failure(few, strlen(few), &failure));
    assert_false(s3_xml_read_failure(many, strlen(many), &failure));
}

static void parts_are_listed_in_order_with_their_tags(void **state)
{
    (void)state;
    char one[] = "\"a54357aff0632cce46d942af68356b38\"", two[] = "<&>";
    char *etags[] = {one, two};
    AUTO_FREE char *text = s3_xml_write_parts(etags, 2);
    assert_string_equal(text,
                        "<CompleteMultipartUpload" NAMESPACE "><Part><PartNumber>1</PartNumber>"
                        "<ETag>\"a54357aff0632cce46d942af68356b38\"</ETag></Part>"
                        "<Part><PartNumber>2</PartNumber><ETag>&lt;&amp;&gt;</ETag></Part>"
                        "</CompleteMultipartUpload>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_a_code_and_a_message),
        cmocka_unit_test(an_error_without_a_code_or_of_endless_text_is_bounded),
        cmocka_unit_test(an_upload_has_an_id),
        cmocka_unit_test(a_page_has_objects_and_the_way_to_the_next),
        cmocka_unit_test(what_is_no_page_is_refused),
        cmocka_unit_test(a_page_of_too_many_objects_is_refused),
        cmocka_unit_test(a_document_type_is_never_read),
        cmocka_unit_test(a_document_of_many_levels_is_refused),
        cmocka_unit_test(parts_are_listed_in_order_with_their_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
