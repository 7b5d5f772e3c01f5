// Files of results, and pictures by gnuplot: by one that only keeps what it was told, by ones that
// fail, and by the real one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/report.h"
#include "tests/unit/bench/made.h"

static char folder[64], path_before[4096];

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static unsigned at;
    char *path = paths[at++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static char *content(const char *path)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    return text;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pollux-report-XXXXXX");
    snprintf(path_before, sizeof(path_before), "%s", getenv("PATH"));
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    setenv("PATH", path_before, 1);
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

// A gnuplot of our own, the only one that is found.
static void be_gnuplot(const char *script)
{
    char path[sizeof(path_before) + sizeof(folder) + 1];
    FILE *f = fopen(in_folder("gnuplot"), "w");
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    chmod(in_folder("gnuplot"), 0700);
    snprintf(path, sizeof(path), "%s:%s", folder, path_before);
    setenv("PATH", path, 1);
}

static void assert_has(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text ? text : "(no file)");
}

static void script_of_percentiles(void **state)
{
    (void)state;
    struct options o = made_options();
    char error[256] = "", script[256];
    struct measurement *all[] = {made_measurement("fill", 0, 0), made_measurement("it's", 0, 0)};
    snprintf(script, sizeof(script), "cat >'%s'", in_folder("script"));
    be_gnuplot(script);
    assert_true(report_plot(in_folder("o'ne.SVG"), &o, all, 2, error, sizeof(error)));
    char *text = content(in_folder("script"));
    assert_has(text, "set terminal svg ");
    assert_has(text, "o''ne.SVG'\n"); // a quote ends no string
    assert_has(text,
               "set title 'closed loop, 50 connections, pipeline 16, 2 threads; 64-byte values, "
               "1,000,000 keys, uniform' noenhanced\n");
    // The first bucket holds 100 of 10,000 values, from 0 % on.
    assert_has(text, "$d1 << EOD\n1 100.351\n1.01010101 100.351\n");
    assert_has(text, "\n10000 199\nEOD\n");
    assert_has(text, "plot $d1 using 1:2 with lines linewidth 2 title 'it''s'\n");
    assert_null(strstr(text, "fill"));
    measurement_free(all[0]);
    measurement_free(all[1]);
}

static void script_of_a_sweep(void **state)
{
    (void)state;
    struct options o = made_options();
    o.rate_from = 1000;
    o.rate_to = 3000;
    struct measurement *all[] = {made_measurement("get", 0, 0), made_measurement("get", 0, 0)};
    all[0]->rate = 5000;
    all[1]->rate = 6000;
    char error[256] = "", script[256];
    snprintf(script, sizeof(script), "cat >'%s'", in_folder("script"));
    be_gnuplot(script);
    assert_true(report_plot(in_folder("two.png"), &o, all, 2, error, sizeof(error)));
    char *text = content(in_folder("script"));
    assert_has(text, "set terminal pngcairo ");
    assert_has(text, "$d0 << EOD\n5000 149.503 198.655 199\n5000 149.503 198.655 199\nEOD\n");
    assert_has(text, "set label 'knee' at 5000,"); // 5000 of 6000
    assert_has(text, "using 1:3 with linespoints");
    assert_has(text, "title 'get p99.9'");
    measurement_free(all[0]);
    measurement_free(all[1]);
}

static void plot_that_fails_says_why(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *m = made_measurement("get", 0, 0), *none = measurement_new("get", 0, 0);
    char error[512] = "", file[256];
    snprintf(file, sizeof(file), "%s", in_folder("x.svg"));
    assert_false(report_plot("x.pdf", &o, &m, 1, error, sizeof(error)));
    assert_string_equal(error, "--plot x.pdf: give a name that ends in .svg or .png");
    assert_false(report_plot(file, &o, &none, 1, error, sizeof(error)));
    assert_has(error, "nothing was measured to plot");
    // It ends without reading, and complains as gnuplot does.
    be_gnuplot("printf 'plot x\\n     ^\\nline 7: no \\033[2Jsuch thing\\n\\n\\032' >&2\nexit 1");
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i += 2) // more than a pipe holds
        histogram_record(&m->latency, histogram_upper(i), 1);
    assert_false(report_plot(file, &o, &m, 1, error, sizeof(error)));
    assert_has(error, ": gnuplot failed: line 7: no \\x1b[2Jsuch thing");
    be_gnuplot("kill -9 $$");
    assert_false(report_plot(file, &o, &m, 1, error, sizeof(error)));
    assert_has(error, ": gnuplot failed");
    setenv("PATH", "/nonexistent", 1);
    assert_false(report_plot(file, &o, &m, 1, error, sizeof(error)));
    assert_has(error, "install it, as with `apt install gnuplot-nox`");
    assert_null(strchr(error, '\n'));
    measurement_free(m);
    measurement_free(none);
}

static void gnuplot_takes_the_script(void **state)
{
    (void)state;
    setenv("PATH", path_before, 1);
    if (system("command -v gnuplot >/dev/null") != 0)
        skip();
    struct options o = made_options();
    struct measurement *all[] = {made_measurement("a_b {x} 'q'", 0, 0),
                                 made_measurement("get", 0, 0)};
    char error[512] = "";
    histogram_record(&all[0]->latency, 0, 10); // a logarithm has no zero
    if (!report_plot(in_folder("real.svg"), &o, all, 2, error, sizeof(error)))
        fail_msg("%s", error);
    char *text = content(in_folder("real.svg"));
    assert_has(text, "</svg>");
    assert_has(text, "99.9%");
    assert_has(text, "a_b {x} 'q'"); // no subscripts
    o.rate_from = 1;
    o.rate_to = 2;
    all[0]->rate = 1;
    if (!report_plot(in_folder("real.png"), &o, all, 1, error, sizeof(error)))
        fail_msg("%s", error);
    assert_memory_equal(content(in_folder("real.png")), "\x89PNG", 4);
    measurement_free(all[0]);
    measurement_free(all[1]);
}

static void all_files_are_written(void **state)
{
    (void)state;
    struct options o = made_options();
    char json[256], csv[256], hdr[256], error[512] = "";
    snprintf(json, sizeof(json), "%s/a.json", folder);
    snprintf(csv, sizeof(csv), "%s/a.csv", folder);
    snprintf(hdr, sizeof(hdr), "%s/a.b.hgrm", folder);
    o.json_file = json;
    o.csv_file = csv;
    o.hdr_file = hdr;
    struct measurement *all[] = {made_measurement("fill", 0, 0), made_measurement("get", 0, 0),
                                 made_measurement("SET k:{key} /x", 0, 0)};
    assert_true(report_files(&o, all, 2, error, sizeof(error)));
    assert_has(content(json), "\"test\": \"get\"");
    assert_has(content(csv), "\r\nget,all,get,");
    assert_has(content(hdr), "#[Max     =        0.199"); // one test: the name as given
    unlink(hdr);
    assert_true(report_files(&o, all, 3, error, sizeof(error)));
    assert_null(content(hdr));
    assert_has(content(in_folder("a.b-get.hgrm")), "#[Max");
    assert_has(content(in_folder("a.b-SET-k-key-x.hgrm")), "#[Max");
    o.rate_to = 2;
    all[1]->rate = 1500;
    assert_true(report_files(&o, all, 3, error, sizeof(error)));
    assert_has(content(in_folder("a.b-get-1500.hgrm")), "#[Max");
    o.csv_file = "/nonexistent/a.csv";
    assert_false(report_files(&o, all, 3, error, sizeof(error)));
    assert_string_equal(error, "--csv /nonexistent/a.csv: cannot be written: No such file or "
                               "directory");
    o.json_file = "/dev/full";
    assert_false(report_files(&o, all, 3, error, sizeof(error)));
    assert_string_equal(error, "--json /dev/full: cannot be written: No space left on device");
    for (unsigned i = 0; i < 3; i++)
        measurement_free(all[i]);
}

static void what_cannot_be_written_is_known_before(void **state)
{
    (void)state;
    struct options o = made_options();
    char error[256] = "";
    assert_true(report_files_possible(&o, error, sizeof(error)));
    o.json_file = "in-the-working-directory.json";
    o.csv_file = in_folder("new.csv");
    assert_true(report_files_possible(&o, error, sizeof(error)));
    assert_int_not_equal(access(o.json_file, F_OK), 0); // nothing was made
    assert_int_not_equal(access(o.csv_file, F_OK), 0);
    o.hdr_file = folder;
    assert_false(report_files_possible(&o, error, sizeof(error)));
    assert_has(error, ": cannot be written: Is a directory");
    o.hdr_file = NULL;
    o.plot_file = "/nonexistent/a.svg";
    assert_false(report_files_possible(&o, error, sizeof(error)));
    assert_string_equal(error, "--plot /nonexistent/a.svg: cannot be written: No such file or "
                               "directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(script_of_percentiles),
        cmocka_unit_test(script_of_a_sweep),
        cmocka_unit_test(plot_that_fails_says_why),
        cmocka_unit_test(gnuplot_takes_the_script),
        cmocka_unit_test(all_files_are_written),
        cmocka_unit_test(what_cannot_be_written_is_known_before),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
