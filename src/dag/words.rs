//! The words, paths and variables of commands.

use dagrun_core::check;
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::TaskAction;
use dagrun_core::problem::{Problem, Syntax};
use dagrun_core::resolve::{Found, References, Site};
use dagrun_core::template::{Part, Template};

use super::build::Builder;
use super::command::{Program, Word};

impl Builder<'_> {
    /// Gives a command to its task.
    pub(super) fn program(&mut self, id: TaskId, program: &Program) {
        let first = program.words.first().map(|word| match word {
            Word::Text(text) => text.as_str(),
            Word::Value(_) | Word::Out(..) | Word::Unusable => "{}",
        });
        self.problem(id, check::program(first, Syntax::Rust));
        let (site, refs) = (Site::of(id), &mut References::default());
        let words = program.words.iter().map(|word| self.word(site, word, refs)).collect();
        self.problem(id, check::wrap(program.wrap.first().map(String::as_str)));
        let mut inputs = Vec::with_capacity(program.inputs.len());
        for (name, path) in &program.inputs {
            self.problem(id, name.as_ref().and_then(|name| check::input(name)));
            let path = self.path(site, path, "the path of `input`", refs);
            self.problem(id, check::input_path(&path));
            inputs.push(path);
        }
        let wrap = program.wrap.iter().map(|word| self.text(site, word, refs)).collect();
        for (at, (name, path)) in program.outputs.iter().enumerate() {
            let problem = check::output(name, self.names.name(id));
            self.problem(id, problem);
            let site = Site { task: id, of_output: true };
            let path = self.path(site, path, &format!("the path of output `{name}`"), refs);
            if self.names.tasks[id.at()].is_temp(at) {
                self.problem(id, check::temporary(&path));
            }
            self.names.tasks[id.at()].outputs[at].1 = path;
        }
        let mut env = Vec::with_capacity(program.env.len());
        for (name, word) in &program.env {
            self.problem(id, check::variable(name));
            env.push((name.clone(), self.word(site, word, refs)));
        }
        let stdin = program.stdin.as_ref().map(|word| match word {
            Word::Text(path) => self.path(site, path, "the path of `stdin`", refs),
            word => self.word(site, word, refs),
        });
        let working_dir = program.working_dir.as_ref().map(|path| {
            let path = self.path(site, path, "the path of `working_dir`", refs);
            self.problem(id, check::directory(&path, Syntax::Rust));
            path
        });
        let task = &mut self.names.tasks[id.at()];
        (task.wrap, task.inputs) = (wrap, inputs);
        (task.action, task.env) = (TaskAction::Run(words), env);
        (task.stdin, task.working_dir) = (stdin, working_dir);
        task.references = std::mem::take(refs).into_tasks();
    }

    fn word(&mut self, site: Site, word: &Word, refs: &mut References) -> Template {
        let placeholder = match word {
            Word::Text(text) => return self.text(site, text, refs),
            Word::Unusable => return Template::default(),
            Word::Value(upstream) => self.names.value(site.task, *upstream, Vec::new()),
            Word::Out(upstream, name) => self.names.output(site.task, *upstream, name),
        };
        match placeholder {
            Ok(placeholder) => {
                let reference = self.names.reference(site.task, &placeholder);
                reference.into_iter().for_each(|task| refs.add(task));
                Template { parts: vec![Part::Placeholder(placeholder)] }
            }
            Err(problem) => {
                self.problem(site.task, problem);
                Template::default()
            }
        }
    }

    /// A path or a URL.
    fn path(&mut self, site: Site, path: &str, what: &str, refs: &mut References) -> Template {
        self.problem(site.task, check::filled(path, what));
        let path = self.text(site, path, refs);
        self.problem(site.task, check::location(&path));
        path
    }

    /// A text with placeholders.
    fn text(&mut self, site: Site, text: &str, refs: &mut References) -> Template {
        let nul = check::text(text);
        let nul = nul.map(|problem| problem.help(format!("it is `{}`", text.escape_debug())));
        self.problem(site.task, nul);
        let mut problems: Vec<Problem> = Vec::new();
        let template = self.names.template(site, text, refs, &mut |_, _, found| {
            if let Found::Problem(problem) = found {
                problems.push(problem);
            }
        });
        problems.into_iter().for_each(|problem| self.problem(site.task, problem));
        template
    }
}
