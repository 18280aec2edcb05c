-- Alerts, what happened to them, where each rule stands, and the outbox.
-- Locks: none; it only creates.

create table observability_internal.alerts (
  alert_id bigint generated always as identity,
  rule_id bigint,
  rule_name text not null,
  group_key text not null default '',
  metric text not null,
  scope jsonb not null,
  severity text not null,
  threshold numeric not null,
  state text not null default 'firing',
  value numeric,
  sample_count bigint not null,
  window_start timestamptz not null,
  window_end timestamptz not null,
  pending_since timestamptz not null,
  started_at timestamptz not null,
  resolved_at timestamptz,
  resolution text,
  resolved_value numeric,
  resolved_sample_count bigint,
  group_by text,
  comparator text not null default 'above',
  level integer not null default 1,
  notified_level integer,
  notified_at timestamptz,
  message_count integer not null default 0,
  evidence jsonb not null default '{}',
  acknowledged_at timestamptz,
  acknowledged_by text,
  acknowledge_note text,
  bundle uuid,
  latest_value numeric,
  notified_severity text,
  first_notified_at timestamptz,
  is_end_told boolean not null default false,
  is_late boolean not null default false,
  breached_until timestamptz,
  constraint alerts_pkey primary key (alert_id),
  constraint alerts_rule_id_fkey foreign key (rule_id) references observability_internal.alert_rules (rule_id) on delete set null,
  constraint "an alert is firing or resolved" check (state in ('firing', 'resolved')),
  constraint "a resolved alert says when and why" check (
    (state = 'resolved') = (resolved_at is not null) and (state = 'resolved') = (resolution is not null)
  ),
  constraint "an alert ends by recovery, without data or with its rule" check (
    resolution in ('recovered', 'no_data', 'period_ended', 'rule_changed', 'rule_disabled', 'rule_deleted')
  ),
  constraint "an acknowledgement says when" check (
    acknowledged_at is not null or acknowledged_by is null and acknowledge_note is null
  ),
  constraint "a note has at most 2000 characters" check (char_length(acknowledge_note) <= 2000)
);

comment on table observability_internal.alerts is 'One row per breach from firing to resolved, with the figures that caused both.';

comment on column observability_internal.alerts.value is 'The metric''s value when the alert fired, over [window_start, window_end).';

comment on column observability_internal.alerts.level is 'Which threshold was passed, counted from 1; it only rises while the alert fires.';

comment on column observability_internal.alerts.bundle is
'The same for the groups of a rule that fired together: one message, and one incident of a paging service. Null until told.';

comment on column observability_internal.alerts.latest_value is 'The newest value while it fires.';

comment on column observability_internal.alerts.first_notified_at is 'When its first message was written: escalations count from here.';

comment on column observability_internal.alerts.is_end_told is 'Whether its end was written to the outbox, or nobody is to hear of it.';

comment on column observability_internal.alerts.is_late is
'Whether it was judged after the fact: its calls came late, or no worker was there. The breach lasted from pending_since to breached_until.';

create index alerts_bundle_idx on observability_internal.alerts (bundle);

create index alerts_end_to_tell_idx on observability_internal.alerts (rule_id) where state = 'resolved' and not is_end_told;

create unique index alerts_one_firing_per_rule_and_group_idx
on observability_internal.alerts (rule_id, group_key) where state = 'firing' and not is_late;

create index alerts_rule_id_idx on observability_internal.alerts (rule_id, group_key);

create index alerts_started_at_idx on observability_internal.alerts (started_at);

create index alerts_resolved_at_idx on observability_internal.alerts (resolved_at) where state = 'resolved';

alter table observability_internal.alerts enable row level security;

grant select on table observability_internal.alerts to authenticated;

grant select, insert, update, delete on table observability_internal.alerts to service_role;

create policy "analysts see alerts" on observability_internal.alerts
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.alert_transitions (
  transition_id bigint generated always as identity,
  rule_id bigint,
  rule_name text not null,
  alert_id bigint,
  group_key text not null default '',
  occurred_at timestamptz not null,
  from_state text not null,
  to_state text not null,
  value numeric,
  threshold numeric,
  severity text,
  sample_count bigint,
  window_start timestamptz,
  window_end timestamptz,
  evidence jsonb not null default '{}',
  actor text,
  note text,
  constraint alert_transitions_pkey primary key (transition_id),
  constraint alert_transitions_rule_id_fkey foreign key (rule_id)
  references observability_internal.alert_rules (rule_id) on delete set null,
  constraint alert_transitions_alert_id_fkey foreign key (alert_id)
  references observability_internal.alerts (alert_id) on delete cascade,
  constraint "a transition is between ok, pending, firing, resolved, acknowledged" check (
    from_state in ('ok', 'pending', 'firing', 'resolved')
    and to_state in ('ok', 'pending', 'firing', 'resolved', 'acknowledged')
  )
);

comment on table observability_internal.alert_transitions is 'Every change of state with its evidence: value, threshold, sample and window.';

create index alert_transitions_alert_id_idx on observability_internal.alert_transitions (alert_id);

create index alert_transitions_rule_id_idx on observability_internal.alert_transitions (rule_id, occurred_at);

alter table observability_internal.alert_transitions enable row level security;

grant select on table observability_internal.alert_transitions to authenticated;

grant select, insert, update, delete on table observability_internal.alert_transitions to service_role;

create policy "analysts see transitions" on observability_internal.alert_transitions
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.alert_silences (
  silence_id bigint generated always as identity,
  rule_id bigint not null,
  group_key text,
  ends_at timestamptz not null,
  note text,
  created_at timestamptz not null default now(),
  created_by text,
  constraint alert_silences_pkey primary key (silence_id),
  constraint alert_silences_rule_id_fkey foreign key (rule_id)
  references observability_internal.alert_rules (rule_id) on delete cascade,
  constraint "a silence lasts at most 90 days" check (ends_at <= created_at + interval '90 days'),
  constraint "a silence's note has at most 2000 characters" check (char_length(note) <= 2000)
);

comment on table observability_internal.alert_silences is 'Until when a rule, or one group of it, sends nothing; a null group is all of them.';

create index alert_silences_rule_id_idx on observability_internal.alert_silences (rule_id, ends_at);

alter table observability_internal.alert_silences enable row level security;

grant select on table observability_internal.alert_silences to authenticated;

grant select, insert, update, delete on table observability_internal.alert_silences to service_role;

create policy "analysts see silences" on observability_internal.alert_silences
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.alert_states (
  rule_id bigint not null,
  group_key text not null default '',
  state text not null default 'ok',
  pending_since timestamptz,
  alert_id bigint,
  value numeric,
  sample_count bigint,
  evaluated_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  groups_over_limit integer not null default 0,
  smallest_over_limit numeric,
  largest_over_limit numeric,
  cleared_since timestamptz,
  no_data_since timestamptz,
  judged_since timestamptz,
  judged_until timestamptz,
  constraint alert_states_pkey primary key (rule_id, group_key),
  constraint alert_states_rule_id_fkey foreign key (rule_id)
  references observability_internal.alert_rules (rule_id) on delete cascade,
  constraint alert_states_alert_id_fkey foreign key (alert_id) references observability_internal.alerts (alert_id),
  constraint "a rule is ok, pending, firing or resolved" check (state in ('ok', 'pending', 'firing', 'resolved')),
  constraint "pending and firing know since when" check (
    (state in ('pending', 'firing')) = (pending_since is not null)
  ),
  constraint "a firing rule has its alert" check ((state = 'firing') = (alert_id is not null))
) with (fillfactor = 70
);

comment on table observability_internal.alert_states is 'Where each rule stands; a rule that could not be evaluated says why in last_error.';

comment on column observability_internal.alert_states.groups_over_limit is
'Groups that breach but exceed the rule''s group_limit; on the row of the empty group.';

comment on column observability_internal.alert_states.cleared_since is 'Since when a firing alert breaches no more; it ends after the rule''s keep_firing_s.';

comment on column observability_internal.alert_states.no_data_since is 'Since when there has been nothing to measure for a firing or pending group.';

comment on column observability_internal.alert_states.judged_until is
'Up to which minute the rule was judged, and since when (judged_since); on the row of the empty group.';

create index alert_states_alert_id_idx on observability_internal.alert_states (alert_id);

alter table observability_internal.alert_states enable row level security;

grant select on table observability_internal.alert_states to authenticated;

grant select, insert, update, delete on table observability_internal.alert_states to service_role;

create policy "analysts see where rules stand" on observability_internal.alert_states
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.late_minutes (
  late_id bigint generated always as identity,
  is_route boolean not null,
  first_minute timestamptz not null,
  end_minute timestamptz not null,
  constraint late_minutes_pkey primary key (late_id)
);

comment on table observability_internal.late_minutes is
'Minutes that were judged before these calls or requests came; the next evaluation takes them out and judges them again.';

alter table observability_internal.late_minutes enable row level security;

grant select, insert, delete on table observability_internal.late_minutes to service_role;

create table observability_internal.metric_values (
  rule_id bigint not null,
  group_key text not null default '',
  evaluated_at timestamptz not null,
  valid_until timestamptz not null,
  window_start timestamptz not null,
  window_end timestamptz not null,
  value numeric,
  sample_count bigint not null,
  evidence jsonb not null default '{}',
  constraint metric_values_pkey primary key (rule_id, group_key),
  constraint metric_values_rule_id_fkey foreign key (rule_id)
  references observability_internal.alert_rules (rule_id) on delete cascade
);

comment on table observability_internal.metric_values is 'Values of metrics that the worker computes in Python (anomaly…, budget_forecast), until they expire.';

alter table observability_internal.metric_values enable row level security;

grant select on table observability_internal.metric_values to authenticated;

grant select, insert, update, delete on table observability_internal.metric_values to service_role;

create policy "analysts see values from outside" on observability_internal.metric_values
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.notifications (
  notification_id bigint generated always as identity,
  idempotency_key uuid not null default gen_random_uuid(),
  alert_id bigint,
  channel_id bigint,
  channel_name text not null,
  event text not null,
  payload jsonb not null,
  state text not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz not null,
  leased_by text,
  leased_until timestamptz,
  last_error text,
  created_at timestamptz not null,
  sent_at timestamptz,
  sequence integer not null default 1,
  last_attempt_at timestamptz,
  first_attempt_at timestamptz,
  bundle uuid,
  priority smallint not null default 1,
  taken text[] not null default '{}',
  constraint notifications_pkey primary key (notification_id),
  constraint notifications_alert_id_fkey foreign key (alert_id)
  references observability_internal.alerts (alert_id) on delete cascade,
  constraint notifications_channel_id_fkey foreign key (channel_id)
  references observability_internal.notification_channels (channel_id) on delete set null,
  constraint "a message is pending, sent, dead, folded or skipped" check (
    state in ('pending', 'sent', 'dead', 'folded', 'skipped')
  ),
  constraint "a sent message says when" check ((state = 'sent') = (sent_at is not null)),
  constraint "a lease has a holder and an end" check ((leased_by is null) = (leased_until is null)),
  constraint "an alert tells a channel each of its messages once" unique (alert_id, channel_id, event, sequence),
  constraint "a message says what it is about" check (
    event in ('firing', 'escalated', 'reminder', 'acknowledged', 'resolved', 'digest', 'test', 'report')
  ),
  constraint "tests, reports and digests have no alert, all others one" check (
    (alert_id is null) = (event in ('digest', 'test', 'report'))
  ),
  constraint "a message is critical or not" check (priority in (0, 1))
);

comment on table observability_internal.notifications is
'The outbox: written in the transaction of the alert''s transition, sent afterwards until sent or dead.';

create index notifications_due_idx on observability_internal.notifications (next_attempt_at) where state = 'pending';

comment on column observability_internal.notifications.state is
'folded: told in a digest instead; skipped: about an alert that the channel never heard of.';

comment on column observability_internal.notifications.taken is
'Keys of those of the channel''s targets that have taken it; later attempts leave them out.';

comment on column observability_internal.notifications.priority is '0 for critical alerts, which leave before all others.';

create index notifications_bundle_idx on observability_internal.notifications (bundle, channel_id);

create index notifications_created_at_idx on observability_internal.notifications (created_at);

create index notifications_channel_id_idx on observability_internal.notifications (channel_id);

create index notifications_last_attempt_idx on observability_internal.notifications (channel_id, last_attempt_at);

alter table observability_internal.notifications enable row level security;

grant select on table observability_internal.notifications to authenticated;

grant select, insert, update, delete on table observability_internal.notifications to service_role;

create policy "analysts see the outbox" on observability_internal.notifications
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.channel_health (
  channel_id bigint not null,
  paused_until timestamptz,
  failing_since timestamptz,
  last_error text,
  constraint channel_health_pkey primary key (channel_id),
  constraint channel_health_channel_id_fkey foreign key (channel_id)
  references observability_internal.notification_channels (channel_id) on delete cascade
);

comment on table observability_internal.channel_health is 'Channels that fail, since when, and until when a service has asked to wait.';

alter table observability_internal.channel_health enable row level security;

grant select on table observability_internal.channel_health to authenticated;

grant select, insert, update, delete on table observability_internal.channel_health to service_role;

create policy "analysts see the health of channels" on observability_internal.channel_health
for select to authenticated
using ((select observability_internal.can_read_all()));
