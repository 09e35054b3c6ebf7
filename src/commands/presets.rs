//! `p2p presets`: the table of presets.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::Preset;

use super::print;

pub fn presets() -> Result<()> {
    let line = |preset: Preset| {
        let (name, purpose, flags) = (preset.name(), preset.purpose(), preset.flags());
        format!("{name:<11} {purpose}\n{:<11} {flags}\n", "")
    };
    let table: String = Preset::ALL.into_iter().map(line).collect();
    print(&format!(
        "{table}\nUse one with --preset NAME; flags that you give yourself win.\n"
    ))
}
