//! Counts, sizes, hashes and misspelled names as text.

use prompt_to_prompt::format::{bytes, count, hex, nearest};

#[test]
fn one_job_and_several_jobs() {
    assert_eq!(count(0, "job"), "0 jobs");
    assert_eq!(count(1, "job"), "1 job");
    assert_eq!(count(3, "job"), "3 jobs");
}

#[test]
fn sizes_have_binary_units() {
    for (n, text) in [
        (0, "0 KiB"),
        (2048, "2 KiB"),
        (153 << 20, "153 MiB"),
        (1 << 30, "1.0 GiB"),
        (5 << 29, "2.5 GiB"),
    ] {
        assert_eq!(bytes(n), text);
    }
}

#[test]
fn hexadecimal_digits_keep_their_zeros() {
    assert_eq!(hex([0x00, 0x0f, 0xa0]), "000fa0");
}

#[test]
fn a_misspelled_name_has_the_nearest_known_one() {
    let known = ["bicycle", "dragon", "sd15", "cat", "to", "steps", "dpm++2m"];
    for (name, expected) in [
        ("bycicle", Some("bicycle")),
        ("Dragn", Some("dragon")),
        ("drawing", None),
        ("sd51", Some("sd15")),
        ("bat", Some("cat")),
        ("ot", None),
        ("stpes", Some("steps")),
        ("dinosaur", None),
        ("dpm++2mkarras", Some("dpm++2m")),
        ("category", None),
    ] {
        assert_eq!(nearest(name, known), expected, "{name}");
    }
}
