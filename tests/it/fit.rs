//! Memory that is known before anything is loaded, and the flags that would make a run fit.

use candle_core::DType;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::machine::Memory;
use prompt_to_prompt::model::{MemoryOptions, ModelFolder, RunSize};

fn size(rows: usize, side: usize) -> RunSize {
    RunSize {
        rows,
        latents: (side, side),
        kept: 0,
    }
}

fn memory(available: u64) -> Memory {
    Memory {
        total: 1 << 40,
        available,
        limited: false,
    }
}

fn storybook() -> ModelFolder {
    ModelFolder::open("storybook").unwrap()
}

/// What a run is told that has so many bytes.
fn told(
    folder: &ModelFolder,
    size: RunSize,
    memory_options: MemoryOptions,
    available: u64,
) -> Option<[String; 2]> {
    match folder.fits(size, memory_options, memory(available)) {
        Ok(()) => None,
        Err(Error::Memory(report)) => Some([report.cause.to_string(), report.cure.to_string()]),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_first_way_that_fits_is_named_and_does_fit() {
    let large = cures(size(3, 256));
    assert_eq!(large[0], "add --vae-tiling");
    assert!(
        large
            .iter()
            .any(|cure| cure.starts_with("draw it smaller with --vae-tiling"))
    );
    assert!(large.last().unwrap().contains("smaller model"));
    let many = cures(size(40, 64));
    assert!(
        many.iter().any(|cure| cure.starts_with("draw at most 2")),
        "{many:?}"
    );
}

/// What a run is told with less and less memory, each once. Less and less of the picture is kept as it is.
fn cures(size: RunSize) -> Vec<String> {
    let folder = storybook();
    let memory_options = folder.memory_options(Packing::default(), true);
    let footprint = folder.footprint_with(size.latents, memory_options).unwrap();
    let (all, side) = (footprint.of(size.rows), 8 * size.latents.0);
    assert_eq!(told(&folder, size, memory_options, all), None);
    let mut cures = vec![];
    for part in (1..100).rev() {
        let available = all / 100 * part;
        let [cause, cure] = told(&folder, size, memory_options, available).unwrap();
        let asked = format!(
            "{} rows at --width {side} --height {side} needs about",
            size.rows
        );
        assert!(cause.contains(&asked), "{cause}");
        if let Some(flags) = cure.strip_prefix("add ") {
            let way = MemoryOptions {
                vae_tiling: flags.contains("--vae-tiling"),
                low_memory: flags.contains("--low-memory"),
                dtype: if flags.contains("--dtype bf16") {
                    DType::BF16
                } else {
                    DType::F32
                },
                ..memory_options
            };
            assert_ne!(way, memory_options);
            assert_eq!(told(&folder, size, way, available), None, "{cure}");
        }
        if let Some((_, flags)) = cure.split_once("draw it smaller") {
            let side = flags
                .split("--width ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            assert!(
                side.parse::<usize>().unwrap() < 8 * size.latents.0,
                "{cure}"
            );
        }
        let first = cure.split(':').next().unwrap().to_owned();
        if cures.last() != Some(&first) {
            cures.push(first);
        }
    }
    println!("{cures:#?}");
    cures
}

#[test]
fn what_is_spared_already_is_not_named() {
    let folder = storybook();
    let memory_options = MemoryOptions {
        vae_tiling: true,
        low_memory: true,
        dtype: DType::F16,
        ..folder.memory_options(Packing::default(), true)
    };
    let [_, cure] = told(&folder, size(9, 128), memory_options, 100 << 20).unwrap();
    assert!(
        !cure.contains("--vae-tiling") && !cure.contains("--low-memory"),
        "{cure}"
    );
    assert!(!cure.contains("--dtype"), "{cure}");
}

#[test]
fn rows_and_their_memory_are_of_one_mind() {
    let folder = storybook();
    let footprint = folder.footprint((64, 64)).unwrap();
    assert_eq!(footprint.rows_in(1 << 20), 0);
    for rows in 1..20 {
        let bytes = footprint.of(rows) + 1000;
        let fitting = footprint.rows_in(bytes);
        assert!(
            fitting >= rows && footprint.of(fitting) <= bytes,
            "{rows} and {fitting}"
        );
    }
    // What is kept for heatmaps counts.
    let memory_options = folder.memory_options(Packing::default(), false);
    let kept = RunSize {
        kept: 1 << 30,
        ..size(1, 64)
    };
    let bare = footprint.of(1);
    assert_eq!(told(&folder, size(1, 64), memory_options, bare + 100), None);
    assert!(told(&folder, kept, memory_options, bare + 100).is_some());
}
