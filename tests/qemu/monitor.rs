//! QEMU's human monitor.

use crate::common::qemu::Qemu;
use serde_json::json;

impl Qemu {
    /// A command of the human monitor, and its answer: mostly empty when it worked.
    pub fn cmd(&mut self, line: &str) -> String {
        let answer = self
            .execute(
                &json!({"execute": "human-monitor-command", "arguments": {"command-line": line}}),
            )
            .unwrap_or_else(|| panic!("QEMU ended at {line}: {}", self.stderr()));
        answer["return"]
            .as_str()
            .unwrap_or_else(|| panic!("{line}: {answer}"))
            .to_owned()
    }
}
