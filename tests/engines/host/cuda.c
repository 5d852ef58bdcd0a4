/* libcuda.so.1 for a machine without a GPU: "device" memory is host memory at tagged addresses, and
 * everything is done at once. Enough of the driver for engines/cuda.py, under both of the names that
 * its functions have had. A host address where a device's belongs, or the reverse, is an error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;
#define TAG (1ull << 62)
#define HOST(a) ((void *)((a) & ~TAG))
#define BOTH(name) __typeof__(name) name##_v2 __attribute__((alias(#name)))
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NO_CONTEXT = 201 };

static int retained, current, pushed;
int live_objects; /* memory, streams, modules: what a test expects to be none at the end */

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int *v) { *v = 12020; return OK; }
int cuDeviceGetCount(int *n) { *n = 1; return OK; }
int cuDeviceGet(int *d, int i) { *d = i; return i == 0 ? OK : 101; }
int cuDeviceGetName(char *name, int n, int d) { strncpy(name, "Host GPU", n); return OK; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 7 : 0; return OK; }
int cuDeviceComputeCapability(int *a, int *b, int d) { *a = 8; *b = 7; return OK; }
int cuDeviceTotalMem(size_t *n, int d) { *n = 1ull << 33; return OK; }
BOTH(cuDeviceTotalMem);
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = &retained; retained++; return OK; }
int cuDevicePrimaryCtxRelease(int d) { return retained-- > 0 ? OK : INVALID; }
BOTH(cuDevicePrimaryCtxRelease);
int cuCtxPushCurrent(void *c) { current++; return OK; }
BOTH(cuCtxPushCurrent);
int cuCtxPopCurrent(void **c) { *c = &retained; return current-- > 0 ? OK : NO_CONTEXT; }
BOTH(cuCtxPopCurrent);
int cuCtxGetDevice(int *d) { *d = 0; return OK; }
int cuMemGetInfo(size_t *free, size_t *all) { *free = 1ull << 32; *all = 1ull << 33; return OK; }
BOTH(cuMemGetInfo);

int cuMemAlloc(address *a, size_t n) {
    if (!current) return NO_CONTEXT;
    if (n > 1ull << 32) return OUT_OF_MEMORY;
    live_objects++;
    *a = (address)(uintptr_t)memset(aligned_alloc(256, (n + 255) / 256 * 256), 0xA5, n) | TAG;
    return OK;
}
BOTH(cuMemAlloc);
int cuMemFree(address a) {
    if (!(a & TAG)) return INVALID;
    live_objects--;
    free(HOST(a));
    return OK;
}
BOTH(cuMemFree);
int cuMemHostAlloc(void **p, size_t n, unsigned f) { live_objects++; *p = malloc(n); return OK; }
int cuMemAllocHost(void **p, size_t n) { return cuMemHostAlloc(p, n, 0); }
BOTH(cuMemAllocHost);
int cuMemFreeHost(void *p) { live_objects--; free(p); return OK; }

int cuMemcpyHtoDAsync(address to, const void *from, size_t n, void *s) {
    if (!(to & TAG) || ((uintptr_t)from & TAG)) return INVALID;
    memcpy(HOST(to), from, n);
    return OK;
}
BOTH(cuMemcpyHtoDAsync);
int cuMemcpyDtoHAsync(void *to, address from, size_t n, void *s) {
    if (!(from & TAG) || ((uintptr_t)to & TAG)) return INVALID;
    memcpy(to, HOST(from), n);
    return OK;
}
BOTH(cuMemcpyDtoHAsync);
int cuMemsetD8Async(address a, unsigned char v, size_t n, void *s) {
    if (!(a & TAG)) return INVALID;
    memset(HOST(a), v, n);
    return OK;
}

int cuStreamCreate(void **s, unsigned f) { live_objects++; *s = &live_objects; return OK; }
int cuStreamDestroy(void *s) { live_objects--; return OK; }
BOTH(cuStreamDestroy);
int cuStreamSynchronize(void *s) { return current ? OK : NO_CONTEXT; }
int cuEventCreate(void **e, unsigned f) { *e = &retained; return OK; }
int cuEventDestroy(void *e) { return OK; }
BOTH(cuEventDestroy);
int cuEventRecord(void *e, void *s) { return OK; }
int cuEventSynchronize(void *e) { return OK; }
int cuEventElapsedTime(float *ms, void *a, void *b) { *ms = 2.5f; return OK; }
BOTH(cuEventElapsedTime);

int cuModuleLoadData(void **m, const void *text) { live_objects++; *m = strdup(text); return OK; }
int cuModuleLoadDataEx(void **m, const void *text, unsigned n, void *options, void **values) {
    return cuModuleLoadData(m, text);
}
int cuModuleUnload(void *m) { live_objects--; free(m); return OK; }
int cuModuleGetFunction(void **f, void *m, const char *name) {
    *f = strstr(m, "v4.u32") ? (void *)16 : (void *)1; /* the bytes of a word */
    return strstr(m, name) ? OK : NOT_FOUND;
}
int cuFuncSetBlockShape(void *f, int x, int y, int z) { return OK; }
int cuFuncSetCacheConfig(void *f, int c) { return OK; }

/* What copy_rows is meant to do; that its PTX does so is another test. */
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *s, void **params, void **extra) {
    struct { address to, from, to_rows, from_rows; unsigned words; } a;
    if (params) {
        a.to = *(address *)params[0]; a.from = *(address *)params[1];
        a.to_rows = *(address *)params[2]; a.from_rows = *(address *)params[3];
        a.words = *(unsigned *)params[4];
    } else {
        memcpy(&a, extra[1], *(size_t *)extra[3] < sizeof a ? *(size_t *)extra[3] : sizeof a);
    }
    if (!(a.to & a.from & a.to_rows & a.from_rows & TAG)) return INVALID;
    size_t word = (size_t)f, row = a.words * word, done = (size_t)gx * bx * word;
    if (done > row) done = row;
    for (unsigned y = 0; y < gy; y++)
        memcpy((char *)HOST(a.to) + ((int *)HOST(a.to_rows))[y] * row,
               (char *)HOST(a.from) + ((int *)HOST(a.from_rows))[y] * row, done);
    return OK;
}

int cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR"; return OK; }
int cuGetErrorString(int e, const char **s) {
    *s = e == OUT_OF_MEMORY ? "out of memory" : "invalid";
    return OK;
}
int cuGetProcAddress(const char *name, void **f, int version, uint64_t flags, int *found) {
    *f = dlsym(RTLD_DEFAULT, name);
    if (!*f) { /* this library may be loaded for itself alone */
        void *self = dlopen("libcuda.so.1", RTLD_LAZY);
        *f = dlsym(self, name);
    }
    if (found) *found = *f ? 0 : 1;
    return *f ? OK : NOT_FOUND;
}
BOTH(cuGetProcAddress);
