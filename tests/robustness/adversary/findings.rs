//! What was tried, and what was wrong.

use super::tracer::End;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Count {
    pub tried: usize,
    pub done: usize,
    pub failed: usize,
    pub killed: usize,
}

/// Where something was wrong: the acts, and an example for each time.
type Places = BTreeMap<String, Vec<String>>;

#[derive(Default)]
pub struct Findings {
    /// By scenario.
    pub counts: BTreeMap<&'static str, Count>,
    /// By scenario and what is wrong.
    violations: BTreeMap<(&'static str, String), Places>,
    /// So that it is known that frames would be seen.
    pub frames: usize,
    pub acts_done: usize,
}

/// Acts that are shown of those that lead to the same.
const EXAMPLES: usize = 4;

impl Findings {
    pub fn count(&mut self, scenario: &'static str, end: End) {
        let count = self.counts.entry(scenario).or_default();
        count.tried += 1;
        match end {
            End::Exit(0) => count.done += 1,
            End::Exit(_) => count.failed += 1,
            End::Signal(_) => count.killed += 1,
        }
    }

    pub fn tried(&self) -> usize {
        self.counts.values().map(|count| count.tried).sum()
    }

    pub fn note(
        &mut self,
        scenario: &'static str,
        act: &str,
        example: &str,
        found: impl IntoIterator<Item = String>,
    ) {
        for what in found {
            let places = self.violations.entry((scenario, what)).or_default();
            let examples = places.entry(act.to_owned()).or_default();
            examples.push(example.to_owned());
        }
    }

    /// How often each promise was broken, whatever the scenario.
    pub fn kinds(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for ((_, what), places) in &self.violations {
            let times: usize = places.values().map(Vec::len).sum();
            *kinds.entry(what.as_str()).or_default() += times;
        }
        kinds
    }

    /// For each thing that is wrong, the acts that lead to it, with one example.
    pub fn report(&self) -> Vec<String> {
        let violations = self.violations.iter();
        violations
            .map(|((scenario, what), places)| {
                let times: usize = places.values().map(Vec::len).sum();
                let mut text = format!(
                    "{what}\n  in {scenario:?}, {times} times with {} acts",
                    places.len()
                );
                for (act, examples) in places.iter().take(EXAMPLES) {
                    text += &format!("\n    {act}, {} times: {}", examples.len(), examples[0]);
                }
                text
            })
            .collect()
    }

    /// The promises that were broken, as the test's failure.
    pub fn assert_good(&self) {
        let report = self.report();
        let kinds = self.kinds().into_iter();
        let kinds: Vec<_> = kinds
            .map(|(what, times)| format!("{times} times {what}"))
            .collect();
        assert!(
            report.is_empty(),
            "{} promises broken\n{}\n\n{}",
            report.len(),
            kinds.join("\n"),
            report.join("\n")
        );
    }
}
