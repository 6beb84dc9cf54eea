//! The bodies of the fuzz targets for what the wrapper and the listing of a copy print: any bytes in, a panic where something that must hold does
//! not. Not part of the interface; `fuzz/` calls it with coverage, a test here on a stable compiler.

pub use crate::files::fuzz::listing;
pub use crate::session::exec::fuzz::exec_output;

#[cfg(test)]
mod tests {
    use bowline_proto::sim::Random;

    use super::{exec_output, listing};

    const INPUTS: usize = 20_000;
    /// Of all engines, what a wrapper with the nonce `k` prints; the first two bytes choose the engine and the pieces.
    const SEEDS: [&[u8]; 4] = [
        b"\x00\x03\x1ekr64 1 64\n\x1ekx7\n\x1ekeZXJyCg==\n\x1eke=1 1168325113 8\n\x1ekob3V0Cg==\n\x1eko=1 2229935227 8\n\x1eke.1\n\x1eko.1\n\x1ekz\n",
        b"\x00\x09stray\x1ekr16 0 8\nmore\r\n\x1eko 6f 75 74 0a\n\x1eko=1 - 12\n\x1ekw\n\x1ekf\n",
        b"\x01\x05\x1ek\x1ekr\x1ehello\x1e world\r\n\x1ekeoops\n\x1ek.more\xef\x1ekx143\x1e\x1ekz\x1e",
        b"\x02\x07\x1ekg\x1e\x1ekr\x1ehello \xef\xbf\xbd\x1e\x1e\x1ekt\x1e\r\n\x1ekx0\x1e",
    ];

    #[test]
    fn wrappers() {
        let mut random = Random::new(5);
        for number in 0..INPUTS {
            let mut below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
            let mut input: Vec<u8> = match SEEDS.get(number) {
                Some(seed) => seed.to_vec(),
                None if number % 3 == 0 => {
                    let length = below(300);
                    // Marks are likely enough.
                    let letters = b"\x1e\x1ekk\n oexrzw.=0123456789AZaz+/\xef\xbf\xbd";
                    (0..length).map(|_| letters[below(letters.len())]).collect()
                }
                None => SEEDS[below(SEEDS.len())].to_vec(),
            };
            for _ in 0..below(4) {
                let place = below(input.len() + 1);
                let to = (place + below(20)).min(input.len());
                match below(3) {
                    0 => drop(input.drain(place..to)),
                    1 => input.extend_from_within(place..to),
                    _ => input.insert(place, u8::try_from(below(256)).unwrap()),
                }
            }
            let outcome = std::panic::catch_unwind(|| exec_output(&input));
            assert!(outcome.is_ok(), "input {number}: {input:?}");
        }
    }

    #[test]
    fn listings() {
        const SEED: &[u8] = b"T sha256 find\nR src\0/s\0B 3\n41ed 0 1\n81a4 5 1\na1ff 1 -\n/s\0/s/a\0/s/l\0../x\n\0-\nN no\0E 0\n";
        let mut random = Random::new(6);
        for number in 0..INPUTS {
            let mut below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
            let mut input = SEED.to_vec();
            for _ in 0..below(6) {
                let place = below(input.len() + 1);
                let to = (place + below(12)).min(input.len());
                let letters = b"/.\0\n BENRT019-\x1b\xff";
                match below(4) {
                    0 => drop(input.drain(place..to)),
                    1 => input.extend_from_within(place..to),
                    2 => input.insert(place, letters[below(letters.len())]),
                    _ => drop(input.splice(place..to, *b"../")),
                }
            }
            let outcome = std::panic::catch_unwind(|| listing(&input));
            assert!(outcome.is_ok(), "input {number}: {input:?}");
        }
    }
}
