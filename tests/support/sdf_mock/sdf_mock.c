/* A cryptographic machine in a folder, for tests: GM/T 0018 over libcrypto's SM2.
 *
 * The folder in which this library lies holds:
 *   <index>.der   PKCS#8 of the signing key at that index
 *   code          the access code of every private key
 *   gone          if there: nobody answers, and every session has ended
 *   busy          if there: no session is free
 *   faulty        if there: signatures come out wrong
 *   tries         grows by one byte with every wrong access code
 *
 * Structures and codes are written from the standard, not from our Python.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <pthread.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define SDR_OK 0x0
#define SDR_BASE 0x01000000
#define SDR_COMMFAIL (SDR_BASE + 0x03)
#define SDR_OPENDEVICE (SDR_BASE + 0x05)
#define SDR_OPENSESSION (SDR_BASE + 0x06)
#define SDR_PARDENY (SDR_BASE + 0x07)
#define SDR_KEYNOTEXIST (SDR_BASE + 0x08)
#define SDR_SIGNERR (SDR_BASE + 0x0D)
#define SDR_PRKRERR (SDR_BASE + 0x18)
#define SDR_INARGERR (SDR_BASE + 0x1D)

#define ECCref_MAX_BITS 512
#define ECCref_MAX_LEN ((ECCref_MAX_BITS + 7) / 8)
#define MAX_INDEX 64

typedef struct ECCrefPublicKey_st {
    unsigned int bits;
    unsigned char x[ECCref_MAX_LEN];
    unsigned char y[ECCref_MAX_LEN];
} ECCrefPublicKey;

typedef struct ECCSignature_st {
    unsigned char r[ECCref_MAX_LEN];
    unsigned char s[ECCref_MAX_LEN];
} ECCSignature;

struct device { unsigned long epoch; };
struct session { unsigned long epoch; unsigned char right[MAX_INDEX]; };

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static unsigned long epoch = 1; /* grows when the machine was gone */

static void place(char *path, size_t size, const char *name)
{
    Dl_info self;
    const char *end = dladdr(&guard, &self) ? strrchr(self.dli_fname, '/') : NULL;
    int length = end ? (int)(end - self.dli_fname) : 1;
    snprintf(path, size, "%.*s/%s", length, end ? self.dli_fname : ".", name);
}

static int there(const char *name)
{
    char path[4096];
    place(path, sizeof path, name);
    return access(path, F_OK) == 0;
}

static int is_gone(void)
{
    int gone = there("gone");
    if (gone) {
        pthread_mutex_lock(&guard);
        epoch++;
        pthread_mutex_unlock(&guard);
    }
    return gone;
}

static long read_file(const char *name, unsigned char *content, long size)
{
    char path[4096];
    place(path, sizeof path, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    long length = (long)fread(content, 1, (size_t)size, file);
    fclose(file);
    return length;
}

static EVP_PKEY *load(unsigned int index)
{
    unsigned char content[4096];
    char name[32];
    snprintf(name, sizeof name, "%u.der", index);
    long length = read_file(name, content, sizeof content);
    if (length < 0)
        return NULL;
    const unsigned char *at = content;
    return d2i_AutoPrivateKey(NULL, &at, length);
}

static int check(struct session *session)
{
    if (is_gone() || !session || session->epoch != epoch)
        return SDR_COMMFAIL;
    return SDR_OK;
}

int SDF_OpenDevice(void **phDeviceHandle)
{
    if (is_gone())
        return SDR_OPENDEVICE;
    struct device *device = calloc(1, sizeof *device);
    device->epoch = epoch;
    *phDeviceHandle = device;
    return SDR_OK;
}

int SDF_CloseDevice(void *hDeviceHandle)
{
    free(hDeviceHandle);
    return SDR_OK;
}

int SDF_OpenSession(void *hDeviceHandle, void **phSessionHandle)
{
    struct device *device = hDeviceHandle;
    if (is_gone() || device->epoch != epoch)
        return SDR_COMMFAIL;
    if (there("busy"))
        return SDR_OPENSESSION;
    struct session *session = calloc(1, sizeof *session);
    session->epoch = epoch;
    *phSessionHandle = session;
    return SDR_OK;
}

int SDF_CloseSession(void *hSessionHandle)
{
    free(hSessionHandle);
    return SDR_OK;
}

int SDF_GetPrivateKeyAccessRight(void *hSessionHandle, unsigned int uiKeyIndex,
                                 unsigned char *pucPassword, unsigned int uiPwdLength)
{
    struct session *session = hSessionHandle;
    unsigned char code[256];
    char path[4096];
    int answer = check(session);
    if (answer)
        return answer;
    if (uiKeyIndex >= MAX_INDEX)
        return SDR_KEYNOTEXIST;
    long length = read_file("code", code, sizeof code);
    if (length != (long)uiPwdLength || memcmp(code, pucPassword, uiPwdLength)) {
        place(path, sizeof path, "tries");
        FILE *file = fopen(path, "ab");
        if (file) {
            fputc('x', file);
            fclose(file);
        }
        return SDR_PRKRERR;
    }
    session->right[uiKeyIndex] = 1;
    return SDR_OK;
}

int SDF_ReleasePrivateKeyAccessRight(void *hSessionHandle, unsigned int uiKeyIndex)
{
    struct session *session = hSessionHandle;
    int answer = check(session);
    if (!answer && uiKeyIndex < MAX_INDEX)
        session->right[uiKeyIndex] = 0;
    return answer;
}

int SDF_ExportSignPublicKey_ECC(void *hSessionHandle, unsigned int uiKeyIndex,
                                ECCrefPublicKey *pucPublicKey)
{
    BIGNUM *x = NULL, *y = NULL;
    int answer = check(hSessionHandle);
    if (answer)
        return answer;
    EVP_PKEY *key = load(uiKeyIndex);
    if (!key)
        return SDR_KEYNOTEXIST;
    memset(pucPublicKey, 0, sizeof *pucPublicKey);
    pucPublicKey->bits = 256;
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) != 1
        || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) != 1)
        answer = SDR_KEYNOTEXIST;
    else {
        BN_bn2binpad(x, pucPublicKey->x, ECCref_MAX_LEN);
        BN_bn2binpad(y, pucPublicKey->y, ECCref_MAX_LEN);
    }
    BN_free(x);
    BN_free(y);
    EVP_PKEY_free(key);
    return answer;
}

int SDF_InternalSign_ECC(void *hSessionHandle, unsigned int uiISKIndex, unsigned char *pucData,
                         unsigned int uiDataLength, ECCSignature *pucSignature)
{
    struct session *session = hSessionHandle;
    unsigned char der[128];
    size_t size = sizeof der;
    int answer = check(session);
    if (answer)
        return answer;
    if (uiISKIndex >= MAX_INDEX)
        return SDR_KEYNOTEXIST;
    if (uiDataLength != 32)
        return SDR_INARGERR;
    if (!session->right[uiISKIndex])
        return SDR_PARDENY;
    EVP_PKEY *key = load(uiISKIndex);
    if (!key)
        return SDR_KEYNOTEXIST;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    answer = SDR_SIGNERR;
    if (context && EVP_PKEY_sign_init(context) == 1
        && EVP_PKEY_sign(context, der, &size, pucData, uiDataLength) == 1) {
        const unsigned char *at = der;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)size);
        if (pair) {
            memset(pucSignature, 0, sizeof *pucSignature);
            BN_bn2binpad(ECDSA_SIG_get0_r(pair), pucSignature->r, ECCref_MAX_LEN);
            BN_bn2binpad(ECDSA_SIG_get0_s(pair), pucSignature->s, ECCref_MAX_LEN);
            if (there("faulty"))
                pucSignature->s[ECCref_MAX_LEN - 1] ^= 1;
            ECDSA_SIG_free(pair);
            answer = SDR_OK;
        }
    }
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
    return answer;
}
