//! The HTML of the report. maud escapes all text. Style and script are files beside this one.
//! Owns the markup and what the page may load. It must never know manifests or files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::card::{Card, Row};
use super::pictures::PictureLink;
use super::words::PromptPiece;
use crate::job::{Change, Difference};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The beginning of every report. Other HTML files begin differently.
pub(super) const BEGINNING: &str =
    "<!DOCTYPE html><html lang=\"en\"><head><meta name=\"generator\" content=\"p2p ";

/// A card with the sources of its pictures.
pub(super) struct ShownCard {
    pub card: Card,
    pub before: Option<Side>,
    pub after: Option<Side>,
    /// Names and URLs of pictures that can replace the edited one.
    pub others: Vec<(&'static str, String)>,
}

/// The picture and the heatmaps of a row.
pub(super) struct Side {
    pub picture: PictureLink,
    /// URLs of its heatmaps. `None` is a missing heatmap.
    pub maps: Vec<Option<String>>,
}

/// The HTML document. `summary` is one line that says what it shows.
pub(super) fn page(title: &str, summary: &str, cards: &[ShownCard], embed: bool) -> String {
    let generator = concat!("p2p ", env!("CARGO_PKG_VERSION"));
    let few = cards.len() <= 2;
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta name="generator" content=(generator);
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy(embed));
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - p2p" }
                style { (PreEscaped(STYLE)) }
            }
            body.few[few] {
                header.top {
                    div { h1 { (title) } p { (summary) } }
                    button #theme type="button" hidden { "Dark" }
                }
                @if cards.len() > 1 { (bar()) }
                main #cards {
                    @for (i, shown) in cards.iter().enumerate() { (card(i + 1, shown, few)) }
                }
                p #none hidden {
                    "No edit matches."
                    button type="reset" form="bar" { "Show all" }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    document.into_string()
}

/// The content security policy: the page may show its pictures and run its own script, and nothing else.
fn policy(embed: bool) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    // For some browsers every local file is an origin of its own, so `'self'` is not enough.
    let pictures = if embed { "data:" } else { "'self' file:" };
    format!(
        "default-src 'none'; img-src {pictures}; style-src 'sha256-{}'; script-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn bar() -> Markup {
    let orders = [
        ("place", "Folder order"),
        ("prompt", "By prompt"),
        ("seed", "By seed"),
        ("inside-most", "Changed most inside"),
        ("inside-least", "Changed least inside"),
        ("outside-least", "Changed least outside"),
        ("outside-most", "Changed most outside"),
    ];
    html! {
        form.bar #bar hidden {
            label.find {
                span.unseen { "Find" }
                input type="search" name="find" placeholder="Search prompts" autocomplete="off";
            }
            label.sort {
                span.unseen { "Sort" }
                select name="sort" {
                    @for (key, name) in orders { option value=(key) { (name) } }
                }
            }
            button #more type="button" aria-expanded="false" aria-controls="refine" { "Filters" }
            div #refine {
                label {
                    span { "Seed" }
                    input name="seed" placeholder="3, 5..7" autocomplete="off";
                }
                label title="Mean difference, from 0 to 255, where the edit acts" {
                    span { "Inside ≥" }
                    input name="inside" type="number" min="0" max="255" step="any";
                }
                label title="Mean difference, from 0 to 255, outside the edited area" {
                    span { "Outside ≤" }
                    input name="outside" type="number" min="0" max="255" step="any";
                }
                label {
                    span { "Size" }
                    input name="size" type="range" min="14" max="44" step="2" value="22";
                }
            }
            output #count aria-live="polite" {}
        }
    }
}

fn card(number: usize, shown: &ShownCard, open: bool) -> Markup {
    let card = &shown.card;
    let (inside, outside) = scores(card.change.as_ref());
    html! {
        article.card id={ "edit-" (number) } data-seed=(card.seed) data-prompt=(card.after.prompt)
            data-inside=[inside] data-outside=[outside] {
            (frame(shown))
            div.text {
                @if !card.name.is_empty() { h2 { (card.name) } }
                @if !shown.others.is_empty() { (views(number, shown)) }
                dl.prompts {
                    @if let Some(before) = &card.before {
                        (prompt("before", before, shown.before.as_ref()))
                    }
                    (prompt("after", &card.after, shown.after.as_ref()))
                }
                (facts(card))
                (settings(number, shown, open))
            }
        }
    }
}

fn frame(shown: &ShownCard) -> Markup {
    let card = &shown.card;
    let before = card.before.as_ref().zip(shown.before.as_ref());
    html! {
        div.frame {
            @if let Some((row, from)) = before { (side("before", row, from)) }
            @if let Some(from) = &shown.after { (side("after", &card.after, from)) }
            @if before.is_some() {
                span.handle {}
                input type="range" min="0" max="100" value="50"
                    aria-label={ "Before and after: " (card.after.prompt) };
            }
        }
    }
}

fn side(class: &str, row: &Row, from: &Side) -> Markup {
    let (id, src, same) = match &from.picture {
        PictureLink::Link(url) => (None, Some(url), None),
        PictureLink::Data(number, uri) => (Some(format!("picture-{number}")), Some(uri), None),
        PictureLink::Same(number) => (None, None, Some(number)),
    };
    let alt = format!("{}: {}", row.label, row.prompt);
    html! {
        figure.side.(class) {
            img id=[id] src=[src] data-same=[same] width=(row.size[0]) height=(row.size[1])
                loading="lazy" decoding="async" draggable="false" alt=(alt);
            figcaption { (row.label) }
        }
    }
}

fn views(number: usize, shown: &ShownCard) -> Markup {
    let view = |name: &str, src: Option<&String>| {
        html! {
            label {
                input type="radio" name={ "view-" (number) } checked[src.is_none()]
                    data-label=(name) data-src=[src];
                span { (name) }
            }
        }
    };
    html! {
        fieldset.views {
            legend.unseen { "Compare with" }
            (view(&shown.card.after.label, None))
            @for (name, url) in &shown.others { (view(name, Some(url))) }
        }
    }
}

fn prompt(side: &str, row: &Row, from: Option<&Side>) -> Markup {
    let maps = from.map_or(&[][..], |from| &from.maps);
    // The tab key stops at the first word that has a map.
    let first = row.pieces.iter().position(|piece| piece.map.is_some());
    html! {
        dt { (row.label) }
        dd.prompt data-side=(side) {
            @for (i, piece) in row.pieces.iter().enumerate() {
                (word(piece, maps, first == Some(i)))
            }
            @for weight in &row.weights { " " small.weight { (weight) } }
        }
    }
}

fn word(piece: &PromptPiece, maps: &[Option<String>], first: bool) -> Markup {
    let text = html! {
        @if piece.changed { mark { (piece.text) } } @else { (piece.text) }
    };
    let Some(url) = piece.map.and_then(|map| maps.get(map)?.as_ref()) else {
        return text;
    };
    let tab = if first { "0" } else { "-1" };
    html! {
        button.word type="button" tabindex=(tab) aria-pressed="false" data-map=(url)
            title="Show the heatmap of this word" { (text) }
    }
}

fn facts(card: &Card) -> Markup {
    let fact = |name: &str, difference: &Difference, about: &str| {
        html! {
            div title=(format!("Mean difference, from 0 to 255, {about} ({:.0} % of the picture)", 100.0 * difference.share)) {
                dt { (name) }
                dd { (tenths(difference.mean_abs)) " " small { (decibels(difference)) } }
            }
        }
    };
    html! {
        dl.facts {
            div { dt { "seed" } dd { (card.seed) } }
            @if let Some(change) = &card.change {
                @match (&change.inside, &change.outside) {
                    (None, None) => (fact("change", &change.whole, "in the whole picture")),
                    (inside, outside) => {
                        @if let Some(inside) = inside { (fact("inside", inside, "where the edit acts")) }
                        @if let Some(outside) = outside { (fact("outside", outside, "outside the edited area")) }
                    }
                }
            }
        }
    }
}

fn settings(number: usize, shown: &ShownCard, open: bool) -> Markup {
    let card = &shown.card;
    let command = format!("command-{number}");
    html! {
        div.end {
            details open[open] {
                summary { "Settings" }
                dl.settings {
                    @for (name, value) in &card.settings { dt { (name) } dd { (value) } }
                }
                pre id=(command) { (line(&card.command)) }
            }
            button type="button" data-copies=(command) { "Copy command" }
        }
    }
}

/// A command in which lines break only between words, not inside the name of a flag.
fn line(command: &str) -> Markup {
    let words = shlex::split(command).unwrap_or_default();
    // Splitting removed the quotes, so the words are quoted again.
    let quoted = words.iter().filter_map(|word| shlex::try_quote(word).ok());
    html! {
        @for (i, word) in quoted.enumerate() {
            @if i > 0 { " " }
            span { (word) }
        }
    }
}

/// The differences inside and outside the edited area, for sorting. If the area is unknown, the difference of
/// the whole picture counts as inside.
fn scores(change: Option<&Change>) -> (Option<f64>, Option<f64>) {
    let Some(change) = change else {
        return (None, None);
    };
    let value = |part: Option<Difference>| part.map(|d| d.mean_abs);
    match (change.inside, change.outside) {
        (None, None) => (value(Some(change.whole)), None),
        (inside, outside) => (value(inside), value(outside)),
    }
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn decibels(difference: &Difference) -> String {
    match difference.psnr {
        Some(psnr) => format!("{psnr:.1} dB"),
        None => "identical".to_owned(),
    }
}
