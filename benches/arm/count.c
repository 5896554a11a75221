/* A plugin for QEMU's user emulator that counts instructions exactly.
 *
 * The guest marks where it is by asking for its parent's process id, which nothing else in a benchmark does. At each mark the
 * number of instructions since the last one goes to the file named by the argument `out`, a line each.
 *
 * Plugin interface, version 1. It is small enough to be declared here: no header has to be installed.
 *     cc -shared -fPIC -O2 -o count.so count.c
 *     qemu-aarch64 -plugin ./count.so,out=counts.txt PROGRAM
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb;
struct info;
typedef uint64_t id_t_;
typedef void (*translated_t)(id_t_, struct qemu_plugin_tb *);
typedef void (*syscall_t)(id_t_, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                          uint64_t);
enum { INLINE_ADD_U64 = 0 };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_trans_cb(id_t_, translated_t);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(id_t_, syscall_t);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* getppid, in the system call table of 64-bit Arm. */
static const int64_t MARK = 173;

static uint64_t executed;
static uint64_t at_last_mark;
static FILE *out;

static void translated(id_t_ id, struct qemu_plugin_tb *tb) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(tb));
}

static void called(id_t_ id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == MARK) {
        fprintf(out, "%" PRIu64 "\n", executed - at_last_mark);
        fflush(out);
        at_last_mark = executed;
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(id_t_ id, const struct info *info, int argc, char **argv) {
    (void)info;
    const char *path = NULL;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            path = argv[i] + 4;
        }
    }
    out = path ? fopen(path, "w") : NULL;
    if (!out) {
        fprintf(stderr, "count: name a file that can be written, out=FILE\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
