/* Another implementation of SRTP, to be asked: libsrtp. The suite is the first argument, key and salt in hex the second. Each line of standard input
 * is a letter and a packet in hex: p and u protect and unprotect RTP, P and U RTCP. Each has a line of output: the packet, or "error" and a number. */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set(const char *suite, srtp_policy_t *policy)
{
    srtp_crypto_policy_t *rtp = &policy->rtp, *rtcp = &policy->rtcp;
    int is_32 = strstr(suite, "SHA1_32") != NULL;
    if (!strcmp(suite, "AEAD_AES_128_GCM")) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(rtcp);
    } else if (!strcmp(suite, "AEAD_AES_256_GCM")) {
        srtp_crypto_policy_set_aes_gcm_256_16_auth(rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(rtcp);
    } else if (strstr(suite, "192")) {
        if (is_32) srtp_crypto_policy_set_aes_cm_192_hmac_sha1_32(rtp);
        else srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80(rtp);
        srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80(rtcp);
    } else if (strstr(suite, "256")) {
        if (is_32) srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(rtp);
        else srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(rtp);
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(rtcp);
    } else {
        if (is_32) srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(rtp);
        else srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(rtcp);
    }
}

static int unhex(const char *text, unsigned char *into, int room)
{
    int len = 0;
    unsigned int byte;
    while (len < room && sscanf(text + 2 * len, "%2x", &byte) == 1) into[len++] = (unsigned char)byte;
    return len;
}

int main(int argc, char **argv)
{
    static char line[8192];
    static unsigned char packet[4096], key[64];
    srtp_t sessions[2];
    int direction;
    if (argc != 3 || srtp_init() != srtp_err_status_ok) return 2;
    unhex(argv[2], key, sizeof key);
    for (direction = 0; direction < 2; direction++) {
        srtp_policy_t policy;
        memset(&policy, 0, sizeof policy);
        set(argv[1], &policy);
        policy.ssrc.type = direction ? ssrc_any_inbound : ssrc_any_outbound;
        policy.key = key;
        policy.window_size = 128;
        if (srtp_create(&sessions[direction], &policy) != srtp_err_status_ok) return 3;
    }
    while (fgets(line, sizeof line, stdin)) {
        int len = unhex(line + 2, packet, 2048), place;
        srtp_err_status_t status;
        switch (line[0]) {
        case 'p': status = srtp_protect(sessions[0], packet, &len); break;
        case 'u': status = srtp_unprotect(sessions[1], packet, &len); break;
        case 'P': status = srtp_protect_rtcp(sessions[0], packet, &len); break;
        default: status = srtp_unprotect_rtcp(sessions[1], packet, &len); break;
        }
        if (status != srtp_err_status_ok) {
            printf("error %d\n", (int)status);
        } else {
            for (place = 0; place < len; place++) printf("%02x", packet[place]);
            printf("\n");
        }
        fflush(stdout);
    }
    return 0;
}
