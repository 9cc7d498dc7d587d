//! A short run over what libFuzzer has found worth keeping, and over octets a little different from
//! that; on any compiler.
#![cfg(test)]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;

/// Variations of each file.
const VARIATIONS: u64 = 100;

/// One to three octets changed, removed, doubled, or taken from another file.
fn vary(octets: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    for _ in 0..=random.usize(..3) {
        let at = random.usize(..=octets.len());
        match (random.usize(..6), octets.get_mut(at)) {
            (0, Some(octet)) => *octet ^= 1 << (random.u8(..8)),
            (1, Some(octet)) => *octet = random.u8(..),
            (2, Some(octet)) => *octet = [0, 1, 0x7f, 0xff][random.usize(..4)],
            (3, Some(_)) => drop(octets.remove(at)),
            (4, _) => octets.truncate(at),
            _ => {
                let from = random.usize(..=other.len());
                let to = other.len().min(from + random.usize(..16));
                octets.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

fn feed(name: &str, octets: &[u8]) {
    let hexadecimal = || octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    if catch_unwind(|| fuzz::run(name, octets)).is_err() {
        panic!("{name} fails on {}", hexadecimal());
    }
}

#[test]
fn nothing_that_is_kept_in_the_corpus_breaks_anything_nor_does_what_is_like_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, _) in fuzz::TARGETS {
        let directory = corpus.join(name);
        let mut files: Vec<_> = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "{} is empty", directory.display());
        // The same order, and so the same variations, on every machine.
        files.sort();
        let files: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        let mut random = Rng::with_seed(1);
        for octets in &files {
            feed(name, octets);
            for _ in 0..VARIATIONS {
                let mut varied = octets.clone();
                vary(&mut varied, &files[random.usize(..files.len())], &mut random);
                feed(name, &varied);
            }
        }
    }
}

#[test]
fn every_target_has_a_program_for_libfuzzer() {
    for (name, _) in fuzz::TARGETS {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
        assert!(file.exists(), "{} is missing", file.display());
    }
}
