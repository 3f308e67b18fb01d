//! Writes what the fuzzers begin with into their folders: the vectors' frames, and a few messages of each kind.

use std::path::Path;

use flow::vectors::{FILES, Vectors};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtcp:4001 IN IP4 192.0.2.10\r\na=rtcp-mux\r\na=candidate:1 1 UDP 1 192.0.2.10 4000 typ host\r\n\
    m=video 0 RTP/SAVPF 96\r\nc=IN IP6 2001:db8::10\r\nm=image 4002 udptl t38\r\na=sendonly\r\n";

const FLAGS: [&str; 5] = [
    "codec-strip-all codec-except-PCMA codec=[strip=[G729 opus/48000] offer=[PCMU]] single-codec",
    "sdp-attr=[audio=[add=[ptime:20 x..y] remove=[sendrecv] substitute=[[a--1 b] c>d]]] sdp-media-remove=[video other]",
    "replace-origin ICE=remove direction=pbx direction=gateway rtcp-mux-demux",
    "RTP/AVP strict-source media-handover TOS=184 address-family=IP6 via-branch=1",
    "replace=[origin session-connection] flags=[symmetric trust-address]",
];

fn main() -> std::io::Result<()> {
    for (family, file) in (0..).zip(FILES) {
        let vectors: Vectors = file.parse().map_err(std::io::Error::other)?;
        for (number, vector) in vectors.vectors.iter().enumerate() {
            write("frames", &format!("{family}-{number}"), &[&[family], &vector.input[..]].concat())?;
        }
    }
    write("sdp", "1", format!("a{SDP}").as_bytes())?;
    for (number, entry) in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../calls/corpus"))?.enumerate()
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sdp") {
            let choice = [number as u8];
            write(
                "sdp",
                &path.file_stem().unwrap_or_default().to_string_lossy(),
                &[&choice[..], &std::fs::read(&path)?].concat(),
            )?;
        }
    }
    write("srtp", "line", b"\x001 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4")?;
    write("srtp", "rtp", &[&[0x70, 0x80, 8, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4][..], &[7; 60]].concat())?;
    write("srtp", "rtcp", &[&[0x08, 0x80, 200, 0, 6, 1, 2, 3, 4][..], &[7; 50]].concat())?;
    for (number, flags) in FLAGS.into_iter().enumerate() {
        write("flags", &number.to_string(), flags.as_bytes())?;
    }
    let text = |text: &str| format!("{}:{text}", text.len());
    let offer = ["command", "offer", "call-id", "c", "from-tag", "a", "sdp", SDP].map(text).concat();
    let answer = ["command", "answer", "call-id", "c", "from-tag", "a", "to-tag", "b", "sdp", SDP].map(text).concat();
    let end = ["command", "delete", "call-id", "c", "from-tag", "a"].map(text).concat();
    write("bencode", "call", format!("{offer}e\0{answer}e\0{end}e").as_bytes())?;
    let json = r#""command":"offer","call-id":"c","from-tag":"a","flags":["trust address"],"sdp":"c=IN IP4 192.0.2.9\r\nm=audio 9 RTP/AVP 0"}"#;
    let query = r#""command":"query","call-id":"c"}"#;
    write("json", "call", format!("{json}\0{query}\0\"command\":\"list\",\"limit\":\"5\"}}").as_bytes())
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("seed-{name}")), bytes)
}
