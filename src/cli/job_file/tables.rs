//! Reads the tables of a job file: `[defaults]`, `[[job]]` and `[[job.edit]]`, and expands a job with a grid into one
//! entry for each point. `axes` reads `[job.grid]`. It must never know what a setting does.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use prompt_to_prompt::setting::Setting;

use super::entry::{Entry, Named, lay_over};
use super::grid::{Axis, MOST, Point, product};
use super::problem::FileSpan;
use super::read::{Defaults, Names, Reader, Span, SpannedKey, TableKind, tables};
use super::unknown::unknown;
use super::unreadable::Unreadable;
use super::value::values;
use super::vocabulary::{Key, KeyValue, KeyValues};

impl Reader<'_> {
    /// Reads `[defaults]`.
    pub(super) fn defaults(&mut self, table: &DeTable, defaults: &mut Defaults) {
        self.unreadable = Unreadable::default();
        for (key, value) in table.iter() {
            if self.name(key, value, &mut defaults.names) {
                continue;
            }
            if let Some((index, setting)) = self.setting(TableKind::Defaults, key, value) {
                defaults.settings.insert(index, setting);
            }
        }
        defaults.unreadable.add(&self.unreadable);
    }

    /// Reads a `[[job]]` and adds its entries.
    pub(super) fn job(&mut self, span: Span, table: &DeTable, defaults: &Defaults) {
        let (mut settings, mut names) = (KeyValues::new(), Names::default());
        let (mut edits, mut axes) = (vec![], vec![]);
        self.unreadable = defaults.unreadable.clone();
        for (key, value) in table.iter() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("grid", DeValue::Table(grid)) => {
                    let before = self.file.problems.len();
                    axes = self.grid(grid);
                    if self.file.problems.len() > before {
                        self.unreadable.anything();
                    }
                }
                ("grid", _) => {
                    self.problem(value.span(), "`grid` must be a table", "write [job.grid]");
                    self.unreadable.anything();
                }
                ("edit", DeValue::Array(_)) => match tables(value) {
                    Some(of) => edits = of.map(|(span, edit)| self.edit(span, edit)).collect(),
                    None => {
                        let cure = "write [[job.edit]]";
                        self.problem(value.span(), "`edit` must be a list of tables", cure);
                        self.unreadable.anything();
                    }
                },
                ("edit", DeValue::Table(_)) => {
                    let cure = "write [[job.edit]] with two brackets";
                    self.problem(
                        key.span(),
                        "`edit` must be a list of tables, not one table",
                        cure,
                    );
                    self.unreadable.anything();
                }
                _ if self.name(key, value, &mut names) => {}
                _ => settings.extend(self.setting(TableKind::Job, key, value)),
            }
        }
        let cells: usize = axes.iter().map(|axis: &Axis| axis.values.len()).product();
        if cells > MOST {
            let cause = format!("`grid` makes {cells} jobs, more than {MOST}");
            self.problem(span.clone(), cause, "use fewer values, or split the job");
            return;
        }
        // Other problems of such a job would often be consequences of what could not be read.
        let src = self.vocabulary.of(Setting::Src);
        let has_src = settings.contains_key(&src) || defaults.settings.contains_key(&src);
        if self.unreadable.is_anything() || (self.unreadable.is_something() && !has_src) {
            return;
        }
        self.expand(span, &settings, names, &edits, &axes, defaults);
    }

    /// Adds an entry for each point of the grid.
    fn expand(
        &mut self,
        span: Span,
        settings: &KeyValues,
        names: Names,
        edits: &[(Option<FileSpan>, KeyValues)],
        axes: &[Axis],
        defaults: &Defaults,
    ) {
        let mut base = defaults.settings.clone();
        lay_over(&mut base, settings, self.vocabulary);
        let place = self.place(span);
        for indices in product(axes) {
            let point = axes.iter().zip(&indices);
            let apply = |settings: &KeyValues| {
                let mut settings = settings.clone();
                point
                    .clone()
                    .for_each(|(axis, i)| axis.apply(*i, &mut settings));
                settings
            };
            let of_edit = |(place, own): &(Option<FileSpan>, KeyValues)| {
                let mut settings = base.clone();
                lay_over(&mut settings, own, self.vocabulary);
                (place.clone(), apply(&settings))
            };
            let label =
                |(axis, i): (&Axis, &usize)| (axis.name.clone(), axis.values[*i].label.clone());
            let entry = Entry {
                name: names.name.clone().or(defaults.names.name.clone()),
                folder: names.folder.clone().or(defaults.names.folder.clone()),
                place: Some(place.clone()),
                settings: apply(&base),
                edits: edits.iter().map(of_edit).collect(),
                point: Point(point.clone().map(label).collect()),
                unreadable: self.unreadable.clone(),
            };
            self.file.entries.push(entry);
        }
    }

    /// Reads a `[[job.edit]]`: its position and its own settings.
    fn edit(&mut self, span: Span, table: &DeTable) -> (Option<FileSpan>, KeyValues) {
        let settings = table.iter();
        let settings =
            settings.filter_map(|(key, value)| self.setting(TableKind::Edit, key, value));
        let settings = settings.collect();
        (Some(self.place(span)), settings)
    }

    /// Reads `name` or `folder`. Returns whether the key is one of them.
    fn name(&mut self, key: SpannedKey, value: &Spanned<DeValue>, names: &mut Names) -> bool {
        let slot = match key.get_ref().as_ref() {
            "name" => &mut names.name,
            "folder" => &mut names.folder,
            _ => return false,
        };
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => {
                *slot = Some(Named {
                    text: text.to_string(),
                    place: Some(FileSpan {
                        source: self.at.source,
                        span: value.span(),
                    }),
                });
            }
            _ => {
                let cause = format!("`{}` must be a text", key.get_ref());
                self.problem(value.span(), cause, "write a text, such as \"red-car\"");
            }
        }
        true
    }

    /// Reads a setting. Returns the index of its key and its value.
    fn setting(
        &mut self,
        level: TableKind,
        key: SpannedKey,
        value: &Spanned<DeValue>,
    ) -> Option<(usize, KeyValue)> {
        let name = key.get_ref().as_ref();
        let Some(index) = self.vocabulary.find(name) else {
            let (cause, cure) = unknown(self.vocabulary, level, name);
            self.problem(key.span(), cause, cure);
            self.unreadable.unknown(self.vocabulary, name);
            return None;
        };
        let of = self.vocabulary.key(index);
        if level == TableKind::Edit && !of.each_edit {
            let cause = format!("`{name}` is a setting of the whole job");
            self.problem(key.span(), cause, "move it to [[job]]");
            self.unreadable.key(self.vocabulary, index);
            return None;
        }
        let Some(values) = self.checked(of, index, value) else {
            self.unreadable.key(self.vocabulary, index);
            return None;
        };
        let place = Some(self.place(value.span()));
        Some((index, KeyValue { values, place }))
    }

    /// The values of a key, which are checked as its flag would check them.
    fn checked(
        &mut self,
        key: &Key,
        index: usize,
        value: &Spanned<DeValue>,
    ) -> Option<Vec<String>> {
        let values = self.report(values(key, value, &self.at.folder))?;
        let checked = self.vocabulary.check(index, &values).map_err(|cure| {
            let cause = format!("`{}` cannot be {:?}", key.name, values.join(", "));
            (value.span(), cause, cure)
        });
        self.report(checked)?;
        Some(values)
    }
}
