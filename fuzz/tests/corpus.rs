//! A short run over what libFuzzer has found worth keeping, and over octets a little different from
//! that; on any compiler.
#![cfg(test)]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Variations of each file.
const VARIATIONS: u64 = 100;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 8) as usize
}

/// One to three octets changed, removed, doubled, or taken from another file.
fn vary(octets: &mut Vec<u8>, other: &[u8], state: &mut u64) {
    for _ in 0..=random(state) % 3 {
        let at = random(state) % (octets.len() + 1);
        match (random(state) % 6, octets.get_mut(at)) {
            (0, Some(octet)) => *octet ^= 1 << (random(state) % 8),
            (1, Some(octet)) => *octet = random(state) as u8,
            (2, Some(octet)) => *octet = [0, 1, 0x7f, 0xff][random(state) % 4],
            (3, Some(_)) => drop(octets.remove(at)),
            (4, _) => octets.truncate(at),
            _ => {
                let from = random(state) % (other.len() + 1);
                let to = other.len().min(from + random(state) % 16);
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
        let mut state = 1;
        for octets in &files {
            feed(name, octets);
            for _ in 0..VARIATIONS {
                let mut varied = octets.clone();
                vary(&mut varied, &files[random(&mut state) % files.len()], &mut state);
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
