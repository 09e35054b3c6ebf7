//! `p2p presets`: the table of presets.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::Preset;
use prompt_to_prompt::message::{Flags, Message};

use super::print;

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
        "{table}\nUse one with --preset NAME; flags that you give yourself win.\n"
    ))
}
