//! `p2p presets`: prints a table of the presets. Owns the table. It must never know what a preset sets.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::Preset;
use prompt_to_prompt::message::{Flags, Message};

use super::print;

/// Runs `p2p presets`.
pub fn presets() -> Result<()> {
    let line = |preset: Preset| {
        let (name, purpose) = (preset.name(), preset.purpose());
        let flags = preset.assignments().into_iter();
        let flags = flags.map(|piece| Message::from(piece).render(&Flags));
        let flags = flags.collect::<Vec<_>>().join(" ");
        format!("{name:<11} {purpose}\n{:<11} {flags}\n", "")
    };
    let table: String = Preset::ALL.into_iter().map(line).collect();
    print(&format!(
        "{table}\nUse a preset with --preset NAME. Flags that you give override it.\n"
    ))
}
