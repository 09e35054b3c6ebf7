//! An [`Explanation`] as text. Owns its wording and its columns.

use std::fmt;

use crate::edit::Rules;
use crate::job::{EditSettings, KindChoice};

use super::{BlendPlan, EditExplanation, Explanation, LayerLevel, Read, TokenPlan, When};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        for (i, edit) in self.edits.iter().enumerate() {
            match i.checked_sub(1).map(|before| &self.edits[before]) {
                Some(before) if same_but_strength(before, edit) => {
                    writeln!(
                        f,
                        "\nedit {}  as edit {i}, strength {}",
                        i + 1,
                        edit.settings.strength()
                    )?;
                }
                _ => self.write_edit(f, i + 1, edit)?,
            }
        }
        writeln!(f)?;
        self.levels
            .iter()
            .try_for_each(|level| self.write_level(f, level))?;
        self.write_work(f)
    }
}

/// A morph repeats one edit.
fn same_but_strength(a: &EditExplanation, b: &EditExplanation) -> bool {
    let strength = b.settings.strength;
    *b == EditExplanation {
        settings: EditSettings {
            strength,
            ..a.settings.clone()
        },
        ..a.clone()
    }
}

impl Explanation {
    fn write_head(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (model, run) = (&self.model, &self.run);
        let seed = if self.seed_is_drawn {
            "drawn when it runs".to_owned()
        } else {
            run.seed.to_string()
        };
        let steps = crate::format::count(run.steps, "step");
        let calls = if self.scheduler_calls == run.steps {
            String::new()
        } else {
            format!(" ({} calls of the model)", self.scheduler_calls)
        };
        writeln!(
            f,
            "{model}, {}x{}, {steps} of {}{calls}, guidance {}, seed {seed}",
            run.width, run.height, run.scheduler, run.guidance
        )?;
        if !run.negative_prompt.is_empty() {
            writeln!(f, "negative prompt: {}", run.negative_prompt)?;
        }
        if run.rules == Rules::Reference {
            writeln!(f, "with the quirks of the reference implementation")?;
        }
        writeln!(f, "\nsource  {}", run.src)?;
        if self.draw_source {
            return Ok(());
        }
        let all = self.scheduler_calls;
        let until = match self.source_calls {
            0 => "so not run: no edit needs it".to_owned(),
            calls if calls == all => "but needed to the end".to_owned(),
            calls => format!("stops after step {calls} of {all}: no edit needs it any more"),
        };
        writeln!(f, "        not drawn, {until}")
    }

    fn write_edit(
        &self,
        f: &mut fmt::Formatter,
        number: usize,
        edit: &EditExplanation,
    ) -> fmt::Result {
        let of = match edit.of_edit {
            None => "the source".to_owned(),
            Some(edit) => format!("edit {edit}"),
        };
        writeln!(f, "\nedit {number}  {}", edit.prompt)?;
        if !self.edit_control {
            return writeln!(
                f,
                "        without control: the same noise, nothing is injected"
            );
        }
        let from = edit
            .of_edit
            .map_or(String::new(), |n| format!("of edit {n}; "));
        let kind = edit.settings.edit.map_or("auto", KindChoice::name);
        writeln!(f, "        {from}{kind}: {}\n", edit.because)?;
        write_tokens(f, &edit.tokens)?;
        writeln!(
            f,
            "  (in these steps a token attends where the one that places it does)\n"
        )?;
        let calls = self.scheduler_calls;
        writeln!(
            f,
            "  self-attention of {of}: {}",
            steps(&edit.self_attention, calls)
        )?;
        if let Some(latents) = &edit.latents {
            writeln!(f, "  latents of {of}: {}", steps(latents, calls))?;
        }
        if let Some(weights) = &edit.weights {
            writeln!(f, "  factors: {}", steps(weights, calls))?;
        }
        let strength = edit.settings.strength();
        if strength != 1.0 {
            writeln!(
                f,
                "  strength {strength}: this share of what it changes is kept"
            )?;
        }
        if let Some(blend) = &edit.blend {
            write_blend(f, blend, &of, calls)?;
        }
        edit.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  note: {note}"))
    }

    fn write_level(&self, f: &mut fmt::Formatter, level: &LayerLevel) -> fmt::Result {
        let [h, w] = level.grid;
        let injected = if level.injects_self {
            " (injected)"
        } else {
            ""
        };
        let located = if level.locates {
            "; words are located here"
        } else {
            ""
        };
        writeln!(
            f,
            "layers at {h}x{w}: {} cross-attention, {} self-attention{injected}{located}",
            level.cross_layers, level.self_layers
        )
    }

    fn write_work(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let work = &self.work;
        let rows = work.conditional_rows + work.unconditional_rows;
        let halves = match work.unconditional_rows {
            0 => "no guidance".to_owned(),
            n => format!("{} conditional, {n} unconditional", work.conditional_rows),
        };
        let against = 100.0 * (work.denoise_gflop / work.plain_gflop - 1.0);
        writeln!(
            f,
            "work: {} calls of {rows} rows ({halves}), {} in all, {against:+.1} % against no edit; \
             pictures {}",
            self.scheduler_calls,
            flop(work.denoise_gflop),
            flop(work.decode_gflop)
        )
    }
}

/// Columns as wide as what stands in them.
fn write_tokens(f: &mut fmt::Formatter, tokens: &[TokenPlan]) -> fmt::Result {
    let factored = tokens.iter().any(|t| t.factor != 1.0);
    let head = ["token", "placed by", "times", "in steps"].map(str::to_owned);
    let row = |t: &TokenPlan| {
        let factor = if t.factor == 1.0 {
            String::new()
        } else {
            t.factor.to_string()
        };
        [t.text.clone(), read(&t.reads), factor, span(t)]
    };
    let rows: Vec<[String; 4]> = std::iter::once(head)
        .chain(tokens.iter().map(row))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|r| r[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [0, 1, 2].map(width);
    for row in &rows {
        let [token, reads, factor, when] = row;
        let factor = if factored {
            format!("{factor:<0$}   ", widths[2])
        } else {
            String::new()
        };
        writeln!(
            f,
            "  {token:<0$}   {reads:<1$}   {factor}{when}",
            widths[0], widths[1]
        )?;
    }
    Ok(())
}

fn read(reads: &[Read]) -> String {
    let one = |read: &Read| match read.weight {
        1.0 => read.text.clone(),
        weight => format!("{weight:.2} {}", read.text),
    };
    match reads {
        [] => "itself".to_owned(),
        reads => reads.iter().map(one).collect::<Vec<_>>().join(" + "),
    }
}

/// A token that reads nothing of the old prompt is touched only by its factor.
fn span(token: &TokenPlan) -> String {
    if token.reads.is_empty() && token.factor == 1.0 {
        return "all".to_owned();
    }
    match token.when.steps {
        Some(span) => format!("{}{}", range(span), fading(&token.when)),
        None => "none".to_owned(),
    }
}

fn steps(when: &When, calls: usize) -> String {
    match when.steps {
        Some([first, last]) if first == last => format!("step {first} of {calls}"),
        Some(span) => format!("steps {} of {calls}{}", range(span), fading(when)),
        None => "in no step".to_owned(),
    }
}

fn range([first, last]: [usize; 2]) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn fading(when: &When) -> &'static str {
    if when.window.contains('~') {
        ", fading"
    } else {
        ""
    }
}

fn write_blend(f: &mut fmt::Formatter, blend: &BlendPlan, of: &str, calls: usize) -> fmt::Result {
    // The words, and "draw" as they are one or several.
    let both = |words: &[Vec<String>; 2]| -> (String, &str) {
        let mut all: Vec<String> = vec![];
        for word in words.iter().flatten().map(|w| format!("\"{w}\"")) {
            if !all.contains(&word) {
                all.push(word);
            }
        }
        let verb = if all.len() == 1 { "draws" } else { "draw" };
        (all.join(", "), verb)
    };
    let ((words, draw), (keep, keep_draw)) = (both(&blend.words), both(&blend.keep));
    let mut inside = vec![];
    if !words.is_empty() {
        let threshold = blend.threshold;
        inside.push(format!(
            "only where {words} {draw} more than {threshold} of their peak attention"
        ));
    }
    if !keep.is_empty() {
        inside.push(format!(
            "not where {keep} {keep_draw} more than {}",
            blend.keep_threshold
        ));
    }
    if blend.mask {
        inside.push("only inside the mask".to_owned());
    }
    let edges = if blend.soft { ", edges fade" } else { "" };
    let (inside, when) = (inside.join(", "), steps(&blend.when, calls));
    writeln!(
        f,
        "  blend: {inside}{edges}; elsewhere {of} is put back: {when}"
    )
}

fn flop(giga: f64) -> String {
    match giga {
        g if g >= 1e6 => format!("{:.1} PFLOP", g / 1e6),
        g if g >= 1e3 => format!("{:.1} TFLOP", g / 1e3),
        g => format!("{g:.1} GFLOP"),
    }
}
