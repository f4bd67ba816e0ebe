//! `after` in all its written forms.

use std::ops::Range;

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::Node;
use super::draft::DraftClause;
use super::reader::{Name, Reader};
use crate::check;
use crate::pipeline::{Outcomes, Quantifier};
use crate::problem::Syntax;

/// What a set of tasks is, for messages.
pub(super) const TASKS: &str = "a task's name or a list of names";

const OUTCOMES: [(&str, Outcomes); 3] =
    [("success", Outcomes::Success), ("failure", Outcomes::Failure), ("finish", Outcomes::Finish)];

impl Reader<'_> {
    /// `"a"`, `["a", "b"]`, `{ all = [..], on = ".." }`, `{ any = [..] }`, or a list of these.
    pub(super) fn clauses<'t>(&mut self, node: &'t Node<'_>) -> Vec<DraftClause<'t>> {
        let DeValue::Array(items) = node.get_ref() else {
            return self.clause(node).into_iter().collect();
        };
        let mut clauses: Vec<DraftClause<'t>> = Vec::new();
        let mut plain = None;
        for item in items {
            match item.get_ref() {
                // All plain names form one clause, at the position of the first of them.
                DeValue::String(_) => {
                    let Some(name) = self.name(item) else { continue };
                    let at = *plain.get_or_insert(clauses.len());
                    match clauses.get_mut(at) {
                        Some(clause) => clause.upstreams.push(name),
                        None => clauses.push(DraftClause::all(vec![name])),
                    }
                }
                DeValue::Array(_) => {
                    let clause = self.names(item, TASKS).map(DraftClause::all);
                    clauses.extend(clause.and_then(|clause| self.sound(item, clause)));
                }
                _ => clauses.extend(self.clause(item)),
            }
        }
        clauses
    }

    fn clause<'t>(&mut self, node: &'t Node<'_>) -> Option<DraftClause<'t>> {
        match node.get_ref() {
            DeValue::String(_) => Some(DraftClause::all(vec![self.name(node)?])),
            DeValue::Table(_) => self.clause_table(node),
            _ => {
                let problem = self.mismatch(node, "a task's name or a clause").help(
                    "write \"a\", [\"a\", \"b\"] or { any = [\"a\", \"b\"], on = \"failure\" }",
                );
                self.add(problem);
                None
            }
        }
    }

    fn clause_table<'t>(&mut self, node: &'t Node<'_>) -> Option<DraftClause<'t>> {
        let mut sets: Vec<(Quantifier, Range<usize>, Option<Vec<Name<'t>>>)> = Vec::new();
        let mut on = Outcomes::Success;
        let mut unknown = false;
        for (key, value) in self.table(node, "a clause")? {
            match &**key.get_ref() {
                "all" => sets.push((Quantifier::All, key.span(), self.names(value, TASKS))),
                "any" => sets.push((Quantifier::Any, key.span(), self.names(value, TASKS))),
                "on" => on = self.word(value, "outcome", &OUTCOMES).unwrap_or(on),
                _ => {
                    self.unknown_key(key, "a clause", &["all", "any", "on"]);
                    unknown = true;
                }
            }
        }
        match sets.len() {
            0 if unknown => return None,
            0 => sets.push((Quantifier::All, node.span(), Some(Vec::new()))),
            1 => {}
            _ => {
                let problem =
                    Diagnostic::at(sets[1].1.clone(), "a clause has `all` or `any`, not both")
                        .help("write two clauses: after = [{ all = [..] }, { any = [..] }]");
                self.add(problem);
                return None;
            }
        }
        let (quantifier, _, upstreams) = sets.pop()?;
        self.sound(node, DraftClause { upstreams: upstreams?, quantifier, on })
    }

    fn sound<'t>(&mut self, node: &Node<'_>, clause: DraftClause<'t>) -> Option<DraftClause<'t>> {
        let problem = check::clause(clause.upstreams.len(), Syntax::Toml);
        self.report(node.span(), problem).then_some(clause)
    }
}
