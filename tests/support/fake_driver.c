/* libcuda.so.1 and libnvidia-ml.so.1 in one file, for machines without a GPU.

   The environment says what the driver is like:
   FAKE_GPUS       one GPU after the other, "name;major;minor;GiB", split by "|"; "lost" has failed
   FAKE_CUDA       result of cuInit, 0 by default
   FAKE_NVML       result of nvmlInit, 0 by default
   FAKE_VERSION    CUDA version of the driver, 13000 by default

   CUDA leaves out GPUs that have failed, and those that CUDA_VISIBLE_DEVICES hides where it is empty.
   Sources: cuda.h and nvml.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

/* Copies the description of a GPU; returns 0 if there is none of that index. */
static int describe(int index, char *text, size_t size) {
    const char *at = getenv("FAKE_GPUS");
    for (; at && *at && index > 0; index--) {
        at = strchr(at, '|');
        at = at ? at + 1 : at;
    }
    if (!at || !*at) return 0;
    size_t length = strcspn(at, "|");
    if (length >= size) length = size - 1;
    memcpy(text, at, length);
    text[length] = 0;
    return 1;
}

static int parse(int index, char *name, int *major, int *minor, u64 *bytes) {
    char text[256];
    int gib = 0;
    *bytes = 0;
    if (!describe(index, text, sizeof text)) return 0;
    if (sscanf(text, "%95[^;];%d;%d;%d", name, major, minor, &gib) != 4) return 0;
    *bytes = (u64)gib << 30;
    return 1;
}

static int of_cuda(int wanted) {
    char name[96];
    int major, minor;
    u64 bytes;
    for (int index = 0; index < 16; index++)
        if (parse(index, name, &major, &minor, &bytes) && wanted-- == 0) return index;
    return -1;
}

int cuDriverGetVersion(int *version) { *version = number("FAKE_VERSION", 13000); return 0; }

static int is_hidden(void) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return visible && !*visible;
}

static int is_initialised;

int cuInit(unsigned flags) {
    int result = number("FAKE_CUDA", 0);
    is_initialised = 1;
    return result ? result : is_hidden() || of_cuda(0) < 0 ? 100 : (int)flags;
}

int cuDeviceGetCount(int *count) {
    if (!is_initialised) return 3;
    for (*count = 0; of_cuda(*count) >= 0;) ++*count;
    return 0;
}

int cuDeviceGet(int *gpu, int index) { return (*gpu = of_cuda(index)) < 0; }

int cuDeviceGetName(char *name, int size, int gpu) {
    char text[96];
    int major, minor;
    u64 bytes;
    parse(gpu, text, &major, &minor, &bytes);
    snprintf(name, size, "%s", text);
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int gpu) {
    char name[96];
    int capability[2];
    u64 bytes;
    parse(gpu, name, capability, capability + 1, &bytes);
    *value = capability[attribute - 75];
    return 0;
}

int cuDeviceTotalMem_v2(size_t *total, int gpu) {
    char name[96];
    int major, minor;
    u64 bytes;
    parse(gpu, name, &major, &minor, &bytes);
    *total = bytes;
    return 0;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int gpu) {
    memset(uuid, 0, 16);
    uuid[15] = gpu;
    return 0;
}

/* Says so on the standard output. */
int cuDevicePrimaryCtxRetain(void **context, int gpu) {
    *context = NULL;
    printf("context of %d\n", gpu);
    fflush(stdout);
    return 0;
}

int nvmlInitWithFlags(unsigned flags) { return number("FAKE_NVML", 0) + (int)flags; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { (void)error; return "an error"; }

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    snprintf(version, size, "580.65.06");
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    char text[256];
    for (*count = 0; describe(*count, text, sizeof text);) ++*count;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    char text[256];
    *handle = (void *)(size_t)(index + 1);
    return describe(index, text, sizeof text) && !strcmp(text, "lost") ? 15 : 0;
}

#define INDEX ((int)(size_t)handle - 1)

int nvmlDeviceGetName(void *handle, char *name, unsigned size) {
    return cuDeviceGetName(name, size, INDEX);
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned size) {
    snprintf(uuid, size, "GPU-00000000-0000-0000-0000-%012d", INDEX);
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, u64 *memory) {
    size_t total;
    cuDeviceTotalMem_v2(&total, INDEX);
    memory[0] = total;
    memory[1] = total / 4 * 3;
    memory[2] = total / 4;
    return 0;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    return cuDeviceGetAttribute(major, 75, INDEX) + cuDeviceGetAttribute(minor, 76, INDEX);
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    (void)handle, (void)current, (void)pending;
    return 3; /* not supported, as on all GPUs that have no slices */
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, void *processes) {
    (void)handle, (void)processes;
    *count = 0;
    return 0;
}
