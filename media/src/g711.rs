//! G.711: a sample in eight bits, by either law.

/// Samples in a second.
pub(crate) const RATE: u32 = 8000;

/// How samples become octets (ITU-T G.711).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// PCMU: North America, Japan.
    Mu,
    /// PCMA: everywhere else.
    A,
}

impl Law {
    /// The octet of a sample of 16 bits.
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// The sample of an octet.
    pub const fn decode(self, octet: u8) -> i16 {
        match self {
            Self::Mu => decode_mu(octet),
            Self::A => decode_a(octet),
        }
    }

    /// The octet that says nothing.
    pub const fn silence(self) -> u8 {
        self.encode(0)
    }
}

/// What is added to a magnitude so that its highest bit tells the segment.
const BIAS: u16 = 0x84;

const fn encode_mu(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs();
    let biased = if magnitude > 0x7fff - BIAS { 0x7fff } else { magnitude + BIAS };
    // The lowest bit that the bias leaves highest is the eighth.
    let segment = 8 - biased.leading_zeros() as u16;
    let step = (biased >> (segment + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4 | step) as u8)
}

const fn decode_mu(octet: u8) -> i16 {
    let octet = !octet;
    let (segment, step) = ((octet >> 4) & 7, (octet & 0x0f) as u16);
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    if octet & 0x80 == 0 { magnitude as i16 } else { -(magnitude as i16) }
}

const fn encode_a(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0, !sample as u16) } else { (0x80, sample as u16) };
    // Segments 0 and 1 have steps of one size.
    let segment = (8 - (magnitude | 0xff).leading_zeros()) as u16;
    let step = (magnitude >> if segment == 0 { 4 } else { segment + 3 }) & 0x0f;
    (sign | (segment << 4 | step) as u8) ^ 0x55
}

const fn decode_a(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let (segment, step) = ((octet >> 4) & 7, (octet & 0x0f) as i16);
    let within = (step << 4) + 8;
    let magnitude = if segment == 0 { within } else { (within + 0x100) << (segment - 1) };
    if octet & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_have_the_values_of_the_recommendation() {
        // Tables 1 and 2 of G.711, at the ends of their segments; A-law with its even bits inverted.
        let mu = [(0, 0xff), (8, 0xfe), (-8, 0x7e), (132, 0xef), (32124, 0x80), (-32124, 0x00), (i16::MIN, 0x00)];
        for (sample, octet) in mu {
            assert_eq!(Law::Mu.encode(sample), octet, "{sample}");
        }
        for (sample, octet) in [(8, 0xd5), (-8, 0x55), (264, 0xc5), (32256, 0xaa), (-32256, 0x2a), (i16::MIN, 0x2a)] {
            assert_eq!(Law::A.encode(sample), octet, "{sample}");
        }
        assert_eq!((Law::Mu.silence(), Law::A.silence()), (0xff, 0xd5));
        assert_eq!((Law::Mu.decode(0x80), Law::A.decode(0xaa), Law::A.decode(0x55)), (32124, 32256, -8));
    }

    #[test]
    fn what_is_decoded_is_encoded_as_it_was() {
        for octet in 0..=255 {
            assert_eq!(Law::A.encode(Law::A.decode(octet)), octet);
            // There are two zeros.
            let expected = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(Law::Mu.encode(Law::Mu.decode(octet)), expected);
        }
    }

    #[test]
    fn no_sample_is_far_from_what_becomes_of_it() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let error = i32::from(law.decode(law.encode(sample))) - i32::from(sample);
                // Half a step: a thirty-second of the magnitude, and some at the ends.
                let allowed =
                    (i32::from(sample).abs() / 32 + 8).max(if sample.unsigned_abs() > 32124 { 644 } else { 0 });
                assert!(error.abs() <= allowed, "{law:?} {sample} {error}");
            }
        }
    }
}
