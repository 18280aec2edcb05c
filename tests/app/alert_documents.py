"""What the database in memory answers about alerts and settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.app.names import ENVIRONMENTS, FEATURES, MODELS

Json = dict[str, Any]


BUDGET: Json = {
    "budget_id": 1,
    "name": "Everything",
    "amount": "1000",
    "period": "month",
    "timezone": "Europe/Berlin",
    "scope": {"environment": ["production"]},
    "steps": ["0.5", "0.8", "0.9", "1"],
    "forecast_step": "1",
    "channels": [1],
    "used": "0.83",
    "forecast": "1.12",
}


@dataclass
class AlertAnswers:
    """Answers of the functions of alerts and settings, as a part of `FakeDatabase`."""

    access: str = "ops"
    is_empty: bool = False
    firing: int = 1
    delivery: Json = field(default_factory=lambda: {"overdue": 0, "dead": 0, "channels": [], "silent_rules": []})
    link: Json = field(default_factory=dict)
    runbook: Json = field(default_factory=dict)
    on_call: Json = field(default_factory=dict)
    total: int | None = None

    def _get_alerts(self, from_time: str, to_time: str, filters: Json) -> Json:
        del from_time, to_time, filters
        if self.is_empty:
            return {"firing": [], "history": [], "outbox": [], "rules": [self._rule(1)] if self.firing else []}
        now = datetime.now(UTC)
        alerts = [
            self._alert(4, "Spend spike", "spend", "61.204118", "50", "critical", now - timedelta(minutes=12), None),
            self._alert(3, "Error burst", "error_rate", "0.0821", "0.05", "warning", now - timedelta(minutes=3), None),
            self._alert(
                2, "Slow responses", "p99_latency_ms", "18400", "15000", "warning", now - timedelta(hours=20), 35
            ),
            self._alert(1, "Spend spike", "spend", "54.9", "50", "critical", now - timedelta(days=3), 48),
        ]
        firing = [alert | self.runbook for alert in alerts[:2]] if self.firing else []
        silence = {"silence_id": 5, "rule_id": 3, "rule_name": "Slow responses", "group_key": "gpt-4o", "note": "known"}
        silence |= {"ends_at": (now + timedelta(hours=2)).isoformat(), "created_by": "local-ops"}
        failing = {"last_error": "22023: the filter model takes a text", "last_error_at": now.isoformat()}
        return {
            "access": self.access,
            "firing": firing,
            "history": alerts,
            "times": {
                "alerts": 4,
                "acknowledged": 2,
                "recovered": 3,
                "mean_time_to_acknowledge_s": 252.0,
                "mean_time_to_resolve_s": 2490.0,
            },
            "transitions": _transitions(now),
            "silences": [silence],
            "outbox": _outbox(now),
            "rules": [self._rule(1) | {"groups_over_limit": 3}, self._rule(2) | failing],
        }

    def _find_alerts(self, from_time: str, to_time: str, filters: Json) -> Json:
        """Answer with every alert of the state on one page; it does not search."""
        whole = self._get_alerts(from_time=from_time, to_time=to_time, filters={})
        resolved = [alert for alert in whole["history"] if alert["state"] == "resolved"]
        groups = {"firing": whole["firing"], "resolved": resolved}
        chosen = [alert | self._standing(alert) for alert in groups.get(filters["state"], [])]
        ids = [alert["alert_id"] for alert in chosen if alert["state"] == "firing"]
        rules = whole.pop("rules")
        del whole["firing"], whole["history"]
        page = {"alerts": chosen, "by_rule": []}
        if "by_rule" in filters:
            page = {"alerts": [], "by_rule": [self._rule_alerts(alert) for alert in chosen]}
        return {
            **whole,
            **page,
            "counts": {state: len(alerts) for state, alerts in groups.items()},
            "total": self.total or len(chosen),
            "firing_now": len(groups["firing"]),
            "firing_ids": ids,
            "rule_names": sorted({alert["rule_name"] for alert in chosen}),
            "group_keys": sorted({alert["group_key"] for alert in chosen} - {""}),
            "active_rules": sum(1 for rule in rules if rule["is_enabled"]),
            "failing": [rule for rule in rules if rule.get("last_error") or rule.get("groups_over_limit")],
        }

    def _standing(self, alert: Json) -> Json:
        standing = "acknowledged" if alert["acknowledged_at"] else "unacknowledged"
        budget = alert.get("evidence", {}).get("budget")
        matter = f"budget {budget}" if budget else f"alert {alert['alert_id']}"
        return {"matter": matter, "standing": standing}

    def _rule_alerts(self, alert: Json) -> Json:
        ids = [alert["alert_id"]] if alert["state"] == "firing" else []
        return {
            **{name: alert[name] for name in ("rule_id", "rule_name", "severity", "started_at")},
            "alerts": 1,
            "unacknowledged": len(ids),
            "newest_at": alert["started_at"],
            "firing_ids": ids,
            "worst": alert,
        }

    def _get_delivery_health(self) -> Json:
        return {"access": self.access, "server_time": datetime.now(UTC).isoformat(), **self.delivery}

    def _read_alert_link(self, link: str) -> Json:
        return {"link": link, **self.link}

    def _alert(
        self,
        alert_id: int,
        name: str,
        metric: str,
        value: str,
        threshold: str,
        severity: str,
        started: datetime,
        lasted_minutes: int | None,
    ) -> Json:
        resolved = None if lasted_minutes is None else (started + timedelta(minutes=lasted_minutes)).isoformat()
        return {
            "alert_id": alert_id,
            "rule_id": alert_id,
            "rule_name": name,
            "metric": metric,
            "state": "resolved" if resolved else "firing",
            "value": value,
            "threshold": threshold,
            "sample_count": 1204,
            "severity": severity,
            "window_start": (started - timedelta(hours=1)).isoformat(),
            "window_end": started.isoformat(),
            "started_at": started.isoformat(),
            "resolved_at": resolved,
            "resolution": "recovered" if resolved else None,
            "group_by": "user_id" if alert_id == 3 else None,
            "group_key": "user_9xq33tom" if alert_id == 3 else "",
            "acknowledged_at": started.isoformat() if alert_id == 2 else None,
            "acknowledged_by": "user_2kf81maria" if alert_id == 2 else None,
            "acknowledge_note": "a slow model" if alert_id == 2 else None,
        }

    def _rule(self, rule_id: int) -> Json:
        choices = [
            ("Spend spike", "spend", "50", 3600, "critical", {}, True),
            ("Error burst", "error_rate", "0.05", 300, "warning", {"environment": ["production"]}, True),
            ("Slow responses", "p99_latency_ms", "15000", 900, "warning", {"feature": ["chat", "search"]}, False),
        ]
        name, metric, threshold, window, severity, scope, is_enabled = choices[rule_id - 1]
        return {
            "rule_id": rule_id,
            "name": name,
            "metric": metric,
            "window_s": window,
            "threshold": threshold,
            "scope": scope,
            "minimum_sample": 20 if metric == "error_rate" else 1,
            "for_s": 300 if metric == "error_rate" else 0,
            "severity": severity,
            "channels": [1],
            "is_enabled": is_enabled,
        }

    def _backtest_rule(self, rule: Json, days: int) -> Json:
        now = datetime.now(UTC)
        started = now - timedelta(days=4)
        firing = {"group_key": "", "started_at": started.isoformat(), "value": "71.5", "threshold": rule["threshold"]}
        return {
            "from_time": (now - timedelta(days=days)).isoformat(),
            "to_time": now.isoformat(),
            "step_s": 60,
            "firing_count": 0 if self.is_empty else 1,
            "firing_s": 0 if self.is_empty else 3000,
            "firings": []
            if self.is_empty
            else [firing | {"resolved_at": (started + timedelta(minutes=50)).isoformat(), "sample_count": 90}],
            "series": [
                {"moment": (now - timedelta(hours=12 * index)).isoformat(), "value": str(20 + index % 7)}
                for index in range(2 * days)
            ],
        }

    def _get_report_schedules(self) -> list[Json]:
        weekly = {"kind": "weekly", "is_enabled": True, "local_hour": 7, "timezone": "Europe/Berlin", "channels": [1]}
        return [{"kind": "daily"}, weekly]

    def _get_settings(self) -> Json:
        if self.access != "ops":
            return {"access": self.access}
        added = {"added_at": "2026-11-02T09:00:00+00:00", "added_by": None}
        return {
            "access": "ops",
            "members": [
                {"user_id": "local-ops", "role": "ops", **added},
                {"user_id": "user_2kf81maria", "role": "ops", **added},
                {"user_id": "user_9xq33tom", "role": "analyst", **added},
            ],
            "rules": [] if self.is_empty else [self._rule(1), self._rule(2), self._rule(3)],
            "budgets": [] if self.is_empty else [BUDGET],
            "dimensions": {"model": list(MODELS), "feature": list(FEATURES), "environment": list(ENVIRONMENTS)},
            "channels": []
            if self.is_empty
            else [
                {"channel_id": 1, "name": "on-call", "kind": "webhook", "target_hint": "hooks.example.com"},
                {"channel_id": 2, "name": "old", "kind": "webhook", "target_hint": None, "is_enabled": False},
            ],
            **self.on_call,
        }


def _outbox(now: datetime) -> list[Json]:
    return [
        {
            "notification_id": index,
            "alert_id": index,
            "channel_name": "on-call",
            "event": event,
            "state": state,
            "attempts": attempts,
            "last_error": error,
            "created_at": (now - timedelta(hours=index)).isoformat(),
            "sent_at": None if state != "sent" else (now - timedelta(hours=index)).isoformat(),
            "rule_name": "Spend spike",
            "can_resend": state == "dead",
        }
        for index, (event, state, attempts, error) in enumerate(
            [
                ("firing", "pending", 2, "503 Service Unavailable"),
                ("firing", "sent", 1, None),
                ("resolved", "sent", 1, None),
                ("firing", "dead", 8, "connection refused"),
            ]
        )
    ]


def _transitions(now: datetime) -> list[Json]:
    return [
        {
            "transition_id": 1,
            "occurred_at": (now - timedelta(minutes=12)).isoformat(),
            "rule_name": "Spend spike",
            "metric": "spend",
            "from_state": "pending",
            "to_state": "firing",
            "value": "61.204118",
            "threshold": "50",
            "severity": "critical",
            "sample_count": 1204,
        }
    ]
