//! Mutations of good inputs, the same in every run: the quick form of the fuzz targets, run as a test.

/// A named entry with good inputs to start from.
pub struct Target {
    /// Name of the fuzz target.
    pub name: &'static str,
    /// Takes any bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs that are read as meant.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Pieces that parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"%00",
    b"%2e",
    b"%2F",
    b"/../",
    b"//",
    b"\\",
    b"#",
    b"?",
    b"@",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"\xff",
    b"\xc3\x28",
    b"\x80\x80\x80\x80\x10",
    b"chunked",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"null",
    b"1e999",
    b"&a",
    b"*a",
    b"<<: ",
    b"- ",
    b"!!binary ",
];

/// A xorshift generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (n.max(1) as u64)).unwrap_or(0)
    }
}

/// Runs a target on its seeds and on so many mutations of them; an input that breaks it is told in full.
pub fn play(target: &Target, inputs: usize) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{}: no seeds", target.name);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for at in 0..seeds.len() + inputs {
        let mut input = seeds[at % seeds.len()].clone();
        if at >= seeds.len() {
            for _ in 0..=dice.below(4) {
                mutate(&mut input, &seeds, &mut dice);
            }
        }
        if let Err(cause) = std::panic::catch_unwind(|| (target.run)(&input)) {
            eprintln!("{}: input {:?}", target.name, input.escape_ascii().to_string());
            std::panic::resume_unwind(cause);
        }
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    match dice.below(7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            let end = (at + dice.below(8)).min(input.len());
            input.drain(at..end);
        }
        2 => {
            let end = (at + dice.below(16)).min(input.len());
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        3 => input.truncate(at),
        4 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = u8::try_from(dice.below(256)).unwrap_or(0);
            }
        }
        _ => {
            let piece = PIECES[dice.below(PIECES.len())];
            input.splice(at..at, piece.iter().copied());
        }
    }
}
