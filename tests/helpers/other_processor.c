/* Shows the programs that preload this a processor of the other vendor: an Intel Skylake-X on AMD, an AMD Zen 3 on Intel.

   cc -O2 -shared -fPIC -o other_processor.so tests/helpers/other_processor.c
   LD_PRELOAD=$PWD/other_processor.so python ...

   Linux on x86-64. The kernel is asked to make the instruction CPUID fault; the handler of the fault answers in its
   place. What is said to be there is there: features are those of this processor, less those that the other one lacks.
   The loader and the C library, which look at the processor before this is loaded, see the real one.

   Where the kernel, the processor or the hypervisor cannot do that, the program ends with status LACKING and one line. */

#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef ARCH_SET_CPUID
#define ARCH_SET_CPUID 0x1012
#endif
#define LACKING 77

struct registers { uint32_t eax, ebx, ecx, edx; };

struct cache { uint32_t level, type, ways, sets, shared_by; }; /* type 1: data, 2: instructions, 3: both */

struct processor {
    const char *vendor, *brand;
    uint32_t signature;                           /* family, model and stepping, as leaf 1 has them in eax */
    uint32_t last_leaf, last_extended_leaf;
    uint32_t features_7_ebx, features_7_ecx;      /* of leaf 7: those that it has */
    uint32_t features_81_ecx;                     /* of leaf 0x80000001: those that it has, and this one may have */
    uint32_t claimed_81_ecx;                      /* of the same: those that are no instructions, and are said to be there */
    uint32_t cache_leaf;
    struct cache caches[4];
};

#define BIT(number) (1u << (number))

static const struct processor SKYLAKE_X = {
    .vendor = "GenuineIntel",
    .brand = "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz",
    .signature = 0x00050654,
    .last_leaf = 0x16,
    .last_extended_leaf = 0x80000008,
    /* FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS INVPCID, AVX512 F DQ, RDSEED ADX SMAP CLFLUSHOPT CLWB, AVX512 CD BW VL */
    .features_7_ebx = BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(16) | BIT(17) | BIT(18) |
                      BIT(19) | BIT(20) | BIT(23) | BIT(24) | BIT(28) | BIT(30) | BIT(31),
    .features_7_ecx = BIT(3) | BIT(4),            /* PKU OSPKE */
    .features_81_ecx = BIT(0) | BIT(5) | BIT(8),  /* LAHF LZCNT PREFETCHW */
    .claimed_81_ecx = 0,
    .cache_leaf = 4,
    .caches = {{1, 1, 8, 64, 2}, {1, 2, 8, 64, 2}, {2, 3, 16, 1024, 2}, {3, 3, 11, 40960, 40}},
};

static const struct processor ZEN_3 = {
    .vendor = "AuthenticAMD",
    .brand = "AMD EPYC 7543 32-Core Processor",
    .signature = 0x00A00F11,
    .last_leaf = 0x10,
    .last_extended_leaf = 0x80000023,
    /* FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS INVPCID RDSEED ADX SMAP CLFLUSHOPT CLWB SHA */
    .features_7_ebx = BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(18) | BIT(19) | BIT(20) |
                      BIT(23) | BIT(24) | BIT(29),
    .features_7_ecx = BIT(2) | BIT(3) | BIT(4) | BIT(9) | BIT(10) | BIT(22), /* UMIP PKU OSPKE VAES VPCLMULQDQ RDPID */
    .features_81_ecx = BIT(0) | BIT(5) | BIT(8),
    .claimed_81_ecx = BIT(1) | BIT(22),           /* CMP_LEGACY TOPOEXT */
    .cache_leaf = 0x8000001D,
    .caches = {{1, 1, 8, 64, 2}, {1, 2, 8, 64, 2}, {2, 3, 8, 1024, 2}, {3, 3, 16, 32768, 16}},
};

/* The other one than the processor of this vendor. */
static const struct processor *other_than(const char *vendor) {
    return strcmp(vendor, "AuthenticAMD") ? &ZEN_3 : &SKYLAKE_X;
}

static struct registers caches(const struct processor *shown, uint32_t number) {
    struct registers none = {0, 0, 0, 0};
    if (number >= 4)
        return none;
    struct cache of = shown->caches[number];
    struct registers found = {of.type | of.level << 5 | BIT(8) | (of.shared_by - 1) << 14, 63 | (of.ways - 1) << 22,
                              of.sets - 1, 0};
    return found;
}

/* What the shown processor answers; `real` is what this one does. */
static struct registers answer(const struct processor *shown, uint32_t leaf, uint32_t subleaf, struct registers real) {
    static const struct registers NONE = {0, 0, 0, 0};
    char text[48];
    if (leaf == shown->cache_leaf)
        return caches(shown, subleaf);
    if (leaf >= 0x80000000 ? leaf > shown->last_extended_leaf : leaf > shown->last_leaf && leaf < 0x40000000)
        return NONE;
    switch (leaf) {
    case 0:
    case 0x80000000:
        real.eax = leaf ? shown->last_extended_leaf : shown->last_leaf;
        memcpy(&real.ebx, shown->vendor, 4);
        memcpy(&real.edx, shown->vendor + 4, 4);
        memcpy(&real.ecx, shown->vendor + 8, 4);
        if (leaf && shown == &SKYLAKE_X)
            real.ebx = real.ecx = real.edx = 0;
        return real;
    case 1:
        real.eax = shown->signature;
        return real;
    case 7:
        if (subleaf)
            return NONE;
        real.eax = 0;
        real.ebx &= shown->features_7_ebx;
        real.ecx &= shown->features_7_ecx;
        real.edx = 0;
        return real;
    case 0x80000001:
        real.eax = shown == &ZEN_3 ? shown->signature : 0;
        real.ebx = 0;
        real.ecx = (real.ecx & shown->features_81_ecx) | shown->claimed_81_ecx;
        return real;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        memset(text, 0, sizeof text);
        strncpy(text, shown->brand, sizeof text - 1);
        memcpy(&real, text + 16 * (leaf - 0x80000002), 16);
        return real;
    case 2: /* descriptors of caches, and their leaf of the other vendor */
    case 4:
    case 0x80000005:
    case 0x80000006:
    case 0x8000001D:
    case 0x8000001E:
        return NONE;
    default:
        return real;
    }
}

static const struct processor *shown;

static int let_cpuid_fault(int faults) {
    return (int)syscall(SYS_arch_prctl, ARCH_SET_CPUID, !faults);
}

static void vendor_of(struct registers of, char vendor[13]) {
    memcpy(vendor, &of.ebx, 4);
    memcpy(vendor + 4, &of.edx, 4);
    memcpy(vendor + 8, &of.ecx, 4);
    vendor[12] = 0;
}

static struct registers real_cpuid(uint32_t leaf, uint32_t subleaf) {
    struct registers found;
    __cpuid_count(leaf, subleaf, found.eax, found.ebx, found.ecx, found.edx);
    return found;
}

static void on_fault(int number, siginfo_t *about, void *context) {
    (void)about;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *instruction = (const uint8_t *)registers[REG_RIP];
    if (instruction[0] != 0x0F || instruction[1] != 0xA2) { /* a fault of another kind ends the program, as without this */
        signal(number, SIG_DFL);
        return;
    }
    int saved = errno;
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX];
    let_cpuid_fault(0);
    struct registers real = real_cpuid(leaf, subleaf);
    let_cpuid_fault(1);
    struct registers found = answer(shown, leaf, subleaf, real);
    registers[REG_RAX] = found.eax;
    registers[REG_RBX] = found.ebx;
    registers[REG_RCX] = found.ecx;
    registers[REG_RDX] = found.edx;
    registers[REG_RIP] += 2;
    errno = saved;
}

static void handle_faults(void) {
    char vendor[13];
    vendor_of(real_cpuid(0, 0), vendor);
    shown = other_than(vendor);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
}

#ifndef PARTS
__attribute__((constructor)) static void begin(void) {
    handle_faults();
    if (let_cpuid_fault(1)) {
        fprintf(stderr, "other_processor: this kernel, processor or hypervisor cannot make CPUID fault: %s\n",
                strerror(errno));
        _exit(LACKING);
    }
}
#else
/* Tries all but the request to the kernel (cc -DPARTS -mno-red-zone): a CPUID that faults as it lies at the end of a page
   that is no code. Prints leaf, subleaf and four registers of each answer, and vendor and brand as a program has them. */
#include <sys/mman.h>

static struct registers asked(const uint8_t *code, uint32_t leaf, uint32_t subleaf) {
    struct registers found;
    __asm__ volatile("call *%4"
                     : "=a"(found.eax), "=b"(found.ebx), "=c"(found.ecx), "=d"(found.edx)
                     : "r"(code), "a"(leaf), "c"(subleaf)
                     : "memory");
    return found;
}

int main(void) {
    static const uint32_t LEAVES[] = {0, 1, 2, 4, 7, 0x16, 0x17, 0x80000000, 0x80000001, 0x8000001D};
    char vendor[13], brand[49] = "";
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return 1;
    uint8_t *code = pages + page - 2;
    memcpy(code, "\x0F\xA2\xC3", 3); /* CPUID; RET, which lies in the page behind it */
    mprotect(pages + page, page, PROT_READ | PROT_EXEC);
    handle_faults();
    for (size_t number = 0; number < sizeof LEAVES / sizeof *LEAVES; number++)
        for (uint32_t subleaf = 0; subleaf < 2; subleaf++) {
            struct registers found = asked(code, LEAVES[number], subleaf);
            printf("%x %x %x %x %x %x\n", LEAVES[number], subleaf, found.eax, found.ebx, found.ecx, found.edx);
        }
    vendor_of(asked(code, 0, 0), vendor);
    for (uint32_t part = 0; part < 3; part++) {
        struct registers found = asked(code, 0x80000002 + part, 0);
        memcpy(brand + 16 * part, &found, 16);
    }
    printf("%s\n%s\n", vendor, brand);
    fflush(stdout);
    *(volatile int *)NULL = 0; /* any other fault still ends a program */
    return 0;
}
#endif
