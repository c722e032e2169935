// The smallest stranger, in C++17.
#include <brood.h>
#include <cstdio>

int main() {
    const char *const args[] = {"echo", "hello from a child", nullptr};
    brood_options options{};
    options.args = args;
    brood_result result;
    int r = brood_exec_file_sync(&options, &result);
    bool ok = r == 0 && brood_exit_ok(&result.exit);
    if (ok)
        std::printf("%s", result.out.bytes);
    else
        std::fprintf(stderr, "%s\n", result.message);
    brood_result_done(&result);
    return !ok;
}
