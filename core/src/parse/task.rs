//! A task as it is written: each key read and checked by itself, names not resolved yet.

use super::diagnostic::Diagnostic;
use super::document::{Key, Node};
use super::draft::{Draft, DraftAction, DraftPattern, Fields};
use super::keys::{NOT_DEFAULTS, TASK};
use super::reader::Reader;
use crate::check;
use crate::pipeline::{Capture, Targets};
use crate::problem::Syntax;
use crate::spelling;

const CAPTURES: [(&str, Capture); 5] = [
    ("text", Capture::Text),
    ("json", Capture::Json),
    ("lines", Capture::Lines),
    ("json-lines", Capture::JsonLines),
    ("bytes", Capture::Bytes),
];

const RERUN: [(&str, bool); 1] = [("always", true)];

impl<'t> Draft<'t> {
    /// Reads a task: its own keys, and those of `defaults` that it does not have itself.
    pub(super) fn read<'i>(
        reader: &mut Reader<'_>,
        key: &'t Key<'i>,
        node: &'t Node<'i>,
        defaults: &Fields<'t, 'i>,
    ) -> Draft<'t> {
        let name = &**key.get_ref();
        reader.checked_name(key, "task");
        let Some(own) = reader.table(node, "a task") else {
            return Draft::unreadable(name, key.span());
        };
        let mut draft = Draft::new(name, key.span());
        draft.one_action(reader, &own);
        draft.one_pattern(reader, &own);
        let mut both = own.iter().chain(defaults);
        let combine = both.find(|(key, _)| key.get_ref() == "combine").map(|(_, node)| *node);
        let mut both = own.iter().chain(defaults);
        let allow_empty = both.find(|(key, _)| key.get_ref() == "allow-empty");
        reader.allow_empty =
            allow_empty.is_some_and(|(_, node)| reader.boolean(node) == Some(true));
        // A table of variables is merged: the task's own variables win, not its whole table.
        let (early, late): (Vec<_>, Vec<_>) = defaults
            .iter()
            .filter(|(key, _)| {
                key.get_ref() == "env" || !own.iter().any(|(own, _)| own.get_ref() == key.get_ref())
            })
            .partition(|(key, _)| key.get_ref() == "env");
        for (key, node) in early.into_iter().chain(&own).chain(late) {
            draft.field(reader, key, node, combine);
        }
        draft.goes_together(reader, &own, defaults);
        draft.call_goes_together(reader, &own);
        draft.nothing_to_do(reader);
        draft
    }

    /// Reports when more than one of `run`, `shell` and `call` is present.
    fn one_action(&mut self, reader: &mut Reader<'_>, own: &Fields<'_, '_>) {
        exclusive(reader, own, &["run", "shell", "script", "call"], "does exactly one of them");
    }

    /// Reports patterns that cannot be combined.
    fn one_pattern(&mut self, reader: &mut Reader<'_>, own: &Fields<'_, '_>) {
        if !exclusive(reader, own, &["map", "scatter", "gather"], "follows at most one of them") {
            self.unknown.params = true;
            return;
        }
        let find = |name: &str| own.iter().find(|(key, _)| key.get_ref() == name);
        if let (Some((key, _)), Some(_)) = (find("sweep"), find("gather")) {
            let problem = Diagnostic::at(key.span(), "`sweep` does not go with `gather`")
                .help("a gather has one instance; put the sweep into a task of its own");
            reader.add(problem);
            self.unknown.params = true;
        }
        if let (Some((key, _)), None) = (find("combine"), find("sweep")) {
            let problem = Diagnostic::at(key.span(), "`combine` without `sweep`")
                .help("it pairs the axes of the task's own sweep");
            reader.add(problem);
        }
    }

    /// Reports keys that need another one or exclude it, and drops defaults that do not apply here.
    fn goes_together(
        &mut self,
        reader: &mut Reader<'_>,
        own: &Fields<'_, '_>,
        defaults: &Fields<'_, '_>,
    ) {
        let find = |name: &str| own.iter().find(|(key, _)| key.get_ref() == name);
        for (key, needs) in [("min-success", "gather"), ("max-items", "scatter")] {
            if let (Some((key, _)), None, false) = (find(key), find(needs), self.unknown.params) {
                let problem = check::without(key.get_ref(), needs, Syntax::Toml);
                reader.add(Diagnostic::of(key.span(), problem));
            }
        }
        let has_memory = own.iter().chain(defaults).any(|(key, _)| key.get_ref() == "memory");
        if !has_memory && let Some(problem) = check::growth(&self.conduct, Syntax::Toml) {
            match find("retries") {
                Some((_, node)) => reader.add(Diagnostic::of(node.span(), problem)),
                None => self.conduct.retry.grow_memory = None,
            }
        } else if let Some((_, node)) = find("retries") {
            reader.report(node.span(), check::grows_in_vain(&self.conduct.retry, Syntax::Toml));
        }
        match &mut self.pattern {
            DraftPattern::Gather(gather) => {
                self.min_success = gather.min_success.take().or(self.min_success.take());
            }
            DraftPattern::Scatter(scatter) => {
                scatter.max_items = scatter.max_items.or(self.max_items);
            }
            DraftPattern::Own | DraftPattern::Map(_) => {}
        }
        let mut patterns = ["sweep", "map", "scatter", "gather"].into_iter().filter_map(find);
        if self.conduct.targets == Targets::Each
            && let Some((pattern, _)) = patterns.next()
        {
            let mut both = own.iter().chain(defaults);
            let span = both.find(|(key, _)| key.get_ref() == "targets");
            let span = span.map_or(self.span.clone(), |(_, node)| node.span());
            reader.add(Diagnostic::of(span, check::each(pattern.get_ref(), Syntax::Toml)));
        }
    }

    fn nothing_to_do(&self, reader: &mut Reader<'_>) {
        if self.action.is_none() && !self.unknown_action {
            let message = format!("task `{}` does nothing", self.name);
            reader.add(
                Diagnostic::at(self.span.clone(), message)
                    .help("give it `run = [\"program\", \"argument\"]`, `shell = \"script\"`, `script` or `call = \"function\"`"),
            );
        }
    }

    fn field<'i>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'t Key<'i>,
        node: &'t Node<'i>,
        combine: Option<&'t Node<'i>>,
    ) {
        let conduct = &mut self.conduct;
        match &**key.get_ref() {
            "run" => self.set_action(reader.argv(node).map(DraftAction::Run)),
            "shell" => {
                self.set_action(reader.filled_text(node, "the script").map(DraftAction::Shell));
            }
            "script" => {
                let script = reader.filled_text(node, "the script");
                let script = script.filter(|script| {
                    reader.report(script.span.clone(), check::interpreter(&script.text))
                });
                self.set_action(script.map(DraftAction::Script));
            }
            "wrap" => self.wrap = reader.wrap(node),
            "call" => {
                let call = reader.filled_string(node, "the name of the function");
                self.set_action(call.map(|function| DraftAction::Call(function, Vec::new())));
            }
            "args" => self.args = Some(reader.args(node)),
            "sweep" => {
                let sweep = reader.sweep(node, combine);
                self.unknown.params |= sweep.faulty;
                self.sweep = Some(sweep);
            }
            // Read together with `sweep`.
            "combine" | "allow-empty" => {}
            "map" => self.set_pattern(reader.name(node).map(DraftPattern::Map)),
            "scatter" => self.set_pattern(reader.scatter(node)),
            "gather" => self.set_pattern(reader.gather(node)),
            "max-items" => self.max_items = reader.count(node, "`max-items`"),
            "min-success" => {
                self.min_success = reader.min_success(node).map(|least| (least, node.span()));
            }
            "after" => self.after = reader.clauses(node),
            "follow" => self.follow = reader.clauses(node),
            "capture" => match reader.word(node, "capture", &CAPTURES) {
                Some(capture) => self.capture = capture,
                None => self.unknown.capture = true,
            },
            "out" => self.outputs(reader, node),
            "stdin" => self.stdin = reader.filled_text(node, "the path"),
            "inputs" => {
                let paths = reader.texts(node, "a path or a list of paths").unwrap_or_default();
                // Before those that have a name, wherever these are written.
                let count = u32::try_from(paths.len()).unwrap_or(u32::MAX);
                self.named.iter_mut().for_each(|(_, _, at)| *at = at.saturating_add(count));
                self.inputs.splice(0..0, paths);
            }
            "in" => self.named_inputs(reader, node),
            "env" => self.env(reader, node),
            "working-dir" => self.working_dir = reader.filled_text(node, "the path"),
            "retries" => conduct.retry = reader.retries(node),
            "max-lost" => {
                conduct.max_lost = reader.count(node, "`max-lost`").unwrap_or(conduct.max_lost);
            }
            "timeout" => conduct.timeout = reader.limit(node, "`timeout`"),
            "start-within" => conduct.start_within = reader.limit(node, "`start-within`"),
            "always" => conduct.always = reader.boolean(node).unwrap_or_default(),
            "rerun" => conduct.rerun = reader.word(node, "rerun", &RERUN).unwrap_or_default(),
            "priority" => conduct.priority = reader.priority(node).unwrap_or_default(),
            "memory" => conduct.memory = reader.memory(node).unwrap_or_default(),
            "resources" => conduct.resources = reader.resources(node),
            "targets" => conduct.targets = reader.targets(node).unwrap_or_default(),
            "grace" => conduct.grace = reader.duration(node, "`grace`").unwrap_or(conduct.grace),
            "allow-failure" => conduct.allow_failure = reader.boolean(node).unwrap_or_default(),
            "cpus" => conduct.cpus = reader.positive(node, "`cpus`").unwrap_or(1),
            "max-running" => conduct.max_running = reader.positive(node, "`max-running`"),
            _ => self.other_key(reader, key),
        }
    }

    fn set_action(&mut self, action: Option<DraftAction<'t>>) {
        self.unknown_action |= action.is_none();
        self.action = action;
    }

    fn set_pattern(&mut self, pattern: Option<DraftPattern<'t>>) {
        self.unknown.params |= pattern.is_none();
        if let Some(pattern) = pattern {
            self.pattern = pattern;
        }
    }

    fn outputs(&mut self, reader: &mut Reader<'_>, node: &'t Node<'_>) {
        let Some(fields) = reader.table(node, "a table of outputs") else {
            self.unknown.outputs = true;
            return;
        };
        for (key, value) in fields {
            let name = &**key.get_ref();
            reader.report(key.span(), check::output(name, self.name));
            let (path, temp) = reader.output(value);
            if temp {
                self.temp.push(u32::try_from(self.outputs.len()).unwrap_or(u32::MAX));
            }
            self.outputs.push((name, key.span(), path));
        }
    }

    fn named_inputs(&mut self, reader: &mut Reader<'_>, node: &'t Node<'_>) {
        for (key, value) in reader.table(node, "a table of inputs").unwrap_or_default() {
            let name = &**key.get_ref();
            reader.report(key.span(), check::input(name));
            let Some(path) = reader.filled_text(value, "the path") else { continue };
            let at = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
            self.named.push((name, key.span(), at));
            self.inputs.push(path);
        }
    }

    fn env(&mut self, reader: &mut Reader<'_>, node: &'t Node<'_>) {
        for (key, value) in reader.table(node, "a table of variables").unwrap_or_default() {
            let name = &**key.get_ref();
            if !reader.report(key.span(), check::variable(name)) {
                continue;
            }
            let Some(text) = reader.text(value) else { continue };
            match self.env.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = text,
                None => self.env.push((name, text)),
            }
        }
    }

    /// An unknown key: what it may have been meant to set is not reported as missing.
    fn other_key(&mut self, reader: &mut Reader<'_>, key: &Key<'_>) {
        let name = &**key.get_ref();
        reader.unknown_key(key, "a task", TASK);
        match spelling::closest(name, TASK.iter().copied()) {
            Some("run" | "shell" | "script" | "call") => self.unknown_action = true,
            Some("sweep" | "map" | "scatter" | "gather") => self.unknown.params = true,
            Some("out") => self.unknown.outputs = true,
            Some("capture") => self.unknown.capture = true,
            _ => {}
        }
    }
}

/// Reports the second of keys of which only one is allowed; returns whether there was at most one.
fn exclusive(reader: &mut Reader<'_>, own: &Fields<'_, '_>, keys: &[&str], rule: &str) -> bool {
    let mut found = own.iter().filter(|(key, _)| keys.contains(&&**key.get_ref()));
    let (Some((first, _)), Some((second, _))) = (found.next(), found.next()) else { return true };
    let message = format!("both `{}` and `{}`", first.get_ref(), second.get_ref());
    let problem = Diagnostic::at(second.span(), message).help(format!("a task {rule}"));
    reader.add(problem);
    false
}

/// The keys of `[defaults]` that tasks can have; the others are reported.
pub(super) fn defaults<'t, 'i>(reader: &mut Reader<'_>, node: &'t Node<'i>) -> Fields<'t, 'i> {
    let mut fields = reader.table(node, "a table of task keys").unwrap_or_default();
    fields.retain(|(key, _)| {
        let name = &**key.get_ref();
        if NOT_DEFAULTS.contains(&name) {
            let message = format!("`{name}` cannot be a default");
            reader.add(Diagnostic::at(key.span(), message).help("write it into each task"));
        } else if !TASK.contains(&name) {
            let known: Vec<_> =
                TASK.iter().copied().filter(|key| !NOT_DEFAULTS.contains(key)).collect();
            reader.unknown_key(key, "`[defaults]`", &known);
        } else {
            return true;
        }
        false
    });
    fields
}
