//! Memory estimates before anything is loaded, and the settings that would make a run fit.

use candle_core::DType;
use prompt_to_prompt::error::{Error, Report};
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::machine::Memory;
use prompt_to_prompt::message::{Flags, Message, Piece};
use prompt_to_prompt::model::{MemoryOptions, ModelFolder, RunSize};
use prompt_to_prompt::setting::Setting;

fn size(rows: usize, side: usize) -> RunSize {
    RunSize {
        rows,
        latents: (side, side),
        extra_bytes: 0,
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

/// The error of a run with so many bytes of memory. `None` where the run fits.
fn refused(
    folder: &ModelFolder,
    size: RunSize,
    options: MemoryOptions,
    available: u64,
) -> Option<Report> {
    match folder.fits(size, options, memory(available)) {
        Ok(()) => None,
        Err(Error::Memory(report)) => Some(report),
        Err(other) => panic!("{other}"),
    }
}

/// The value that a message tells the user to set.
fn value_of(message: &Message, wanted: Setting) -> Option<String> {
    message.pieces().iter().find_map(|piece| match piece {
        Piece::Assignment { setting, value, .. } if *setting == wanted => Some(value.clone()),
        _ => None,
    })
}

#[test]
fn the_first_cure_that_works_is_named() {
    let large = cures(size(3, 256));
    assert_eq!(
        large[0],
        (Some(Setting::VaeTiling), "add --vae-tiling".into())
    );
    assert!(
        large
            .iter()
            .any(|(about, cure)| *about == Some(Setting::Width)
                && cure.starts_with("draw it smaller with --vae-tiling"))
    );
    let (about, last) = large.last().unwrap();
    assert!(about.is_none() && last.contains("smaller model"), "{last}");
    let many = cures(size(40, 64));
    assert!(
        many.iter().any(|(about, cure)| *about == Some(Setting::Dst)
            && cure.starts_with("draw at most 2")),
        "{many:?}"
    );
}

/// The cures with less and less memory, each once, and the settings that they are about. Cures that only add
/// settings must work.
fn cures(size: RunSize) -> Vec<(Option<Setting>, String)> {
    let folder = storybook();
    let options = folder.memory_options(Packing::default(), true);
    let footprint = folder.footprint_with(size.latents, options).unwrap();
    let (all, side) = (footprint.of(size.rows), 8 * size.latents.0);
    assert_eq!(refused(&folder, size, options, all), None);
    let mut cures = vec![];
    for percent in (1..100).rev() {
        let available = all / 100 * percent;
        let Report {
            cause, cure, about, ..
        } = refused(&folder, size, options, available).unwrap();
        assert_eq!(value_of(&cause, Setting::Width), Some(side.to_string()));
        let cause = cause.render(&Flags);
        let rows = format!("{} rows at --width {side} --height {side} needs", size.rows);
        assert!(cause.contains(&rows), "{cause}");
        let has = |setting| value_of(&cure, setting).is_some();
        match about {
            Some(Setting::VaeTiling | Setting::LowMemory | Setting::Dtype) => {
                let way = MemoryOptions {
                    vae_tiling: has(Setting::VaeTiling),
                    low_memory: has(Setting::LowMemory),
                    dtype: match value_of(&cure, Setting::Dtype).as_deref() {
                        Some("bf16") => DType::BF16,
                        None => DType::F32,
                        Some(other) => panic!("{other}"),
                    },
                    ..options
                };
                assert_ne!(way, options);
                assert_eq!(refused(&folder, size, way, available), None, "{cure}");
            }
            Some(Setting::Width) => {
                let width = value_of(&cure, Setting::Width).unwrap();
                assert!(width.parse::<usize>().unwrap() < side, "{cure}");
            }
            Some(Setting::Dst) | None => assert!(!has(Setting::Width), "{cure}"),
            Some(other) => panic!("about {other:?}: {cure}"),
        }
        let text = cure.render(&Flags);
        let first = text.split(':').next().unwrap().to_owned();
        if cures.last().map(|(_, cure)| cure) != Some(&first) {
            cures.push((about, first));
        }
    }
    println!("{cures:#?}");
    cures
}

#[test]
fn settings_that_are_set_already_are_not_named() {
    let folder = storybook();
    let options = MemoryOptions {
        vae_tiling: true,
        low_memory: true,
        dtype: DType::F16,
        ..folder.memory_options(Packing::default(), true)
    };
    let report = refused(&folder, size(9, 128), options, 100 << 20).unwrap();
    for setting in [Setting::VaeTiling, Setting::LowMemory, Setting::Dtype] {
        assert_eq!(value_of(&report.cure, setting), None, "{report}");
    }
}

#[test]
fn rows_and_bytes_agree() {
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
    // The bytes of attention maps count.
    let options = folder.memory_options(Packing::default(), false);
    let with_maps = RunSize {
        extra_bytes: 1 << 30,
        ..size(1, 64)
    };
    let bare = footprint.of(1);
    assert_eq!(refused(&folder, size(1, 64), options, bare + 100), None);
    assert!(refused(&folder, with_maps, options, bare + 100).is_some());
}
