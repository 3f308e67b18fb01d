//! Words of the protocol that need a part of the relay which does not exist yet. They are documented, so it matters that a script which relies
//! on them is told; the operator decides whether by a refusal or by a line in the log.

/// Keys that do nothing without such a part, whatever their value.
const KEYS: [&[u8]; 36] = [
    b"audio-player",
    b"delay-buffer",
    b"drop-traffic",
    b"dtls-fingerprint",
    b"dtmf-delay",
    b"dtmf-log-dest",
    b"dtmf-security",
    b"dtmf-security-trigger",
    b"dtmf-security-trigger-end",
    b"frequencies",
    b"frequency",
    b"generate-rtcp",
    b"ice-lite",
    b"metadata",
    b"moh",
    b"output-destination",
    b"ptime",
    b"ptime-reverse",
    b"record-call",
    b"recording-dir",
    b"recording-file",
    b"recording-media-slot-answer",
    b"recording-media-slot-offer",
    b"recording-media-slots",
    b"recording-path",
    b"recording-pattern",
    b"repacketize",
    b"t.38-version",
    b"trigger",
    b"trigger-end",
    b"trigger-end-digits",
    b"trigger-end-time",
    b"vsc-pause-rec",
    b"vsc-start-rec",
    b"vsc-start-stop-rec",
    b"vsc-stop-rec",
];

/// Flags likewise.
const FLAGS: [&[u8]; 22] = [
    b"always-transcode",
    b"block-dtmf",
    b"block-egress",
    b"block-short",
    b"block-short-packets",
    b"detect-dtmf",
    b"discard-recording",
    b"dtls-reverse",
    b"early-media",
    b"exclude-recording",
    b"force-transcoding",
    b"fragment",
    b"generate-rtcp",
    b"inject-dtmf",
    b"nat-wait",
    b"pierce-nat",
    b"recording-announcement",
    b"record-call",
    b"recording-vsc",
    b"rtcp-mirror",
    b"trickle-ice",
    b"webrtc",
];

/// Beginnings of such flags.
const PREFIXES: [&[u8]; 5] = [b"transcode-", b"t38-", b"t.38-", b"bundle-", b"record-call-"];

/// Whether a key is one of them. The spelling is the canonical one.
pub(super) fn key(key: &[u8]) -> bool {
    KEYS.contains(&key) || [&b"t.38"[..], b"t38", b"bundle"].contains(&key)
}

/// Whether a flag is one of them. The spelling is the canonical one.
pub(super) fn flag(flag: &[u8]) -> bool {
    FLAGS.contains(&flag) || PREFIXES.iter().any(|prefix| flag.starts_with(prefix))
}
