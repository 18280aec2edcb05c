-- Purpose: what rules can say beyond a threshold over a window; budgets, silences, transitions, values from outside.
-- Locks: ACCESS EXCLUSIVE on the alert tables for the moment in which their few rows are checked.

create or replace function observability_internal.is_alert_scope(scope jsonb) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when jsonb_typeof(scope) is distinct from 'object' then false
    else not exists (
      select
      from jsonb_each(scope) as dimension (name, names)
      where case
        when dimension.name not in (
          'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'route', 'method'
        ) then true
        when jsonb_typeof(dimension.names) <> 'array' then true
        when jsonb_array_length(dimension.names) not between 1 and 50 then true
        else exists (
          select
          from jsonb_array_elements(dimension.names) as element (name)
          where jsonb_typeof(element.name) <> 'string' or char_length(element.name #>> '{}') > 200
        )
      end
    )
  end;
$$;

create function observability_internal.is_alert_steps(steps numeric[]) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select cardinality(steps) between 1 and 10
    and steps = array(select distinct s.step from unnest(steps) as s (step) where s.step > 0 and s.step <= 10 order by s.step);
$$;

comment on function observability_internal.is_alert_steps(numeric[]) is 'Whether these are 1 to 10 different fractions above 0 and up to 10, in ascending order.';

create function observability_internal.is_timezone(name text) returns boolean
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
begin
  perform timestamptz '2000-01-01 00:00:00+00' at time zone name;
  return name is not null;
exception
  when invalid_parameter_value then
    return false;
end;
$$;

comment on function observability_internal.is_timezone(text) is 'Whether the database knows this time zone.';

create table observability.budgets (
  budget_id bigint generated always as identity,
  name text not null,
  amount numeric not null,
  period text not null default 'month',
  timezone text not null default 'UTC',
  scope jsonb not null default '{}',
  steps numeric[] not null default '{0.5,0.8,0.9,1}',
  forecast_step numeric default 1,
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint budgets_pkey primary key (budget_id),
  constraint "no two budgets share a name" unique (name),
  constraint "a budget's name has 1 to 100 characters" check (char_length(name) between 1 and 100),
  constraint "a budget is above 0 and below a trillion dollars" check (amount > 0 and amount < 1e12),
  constraint "a budget is for a day, a week or a month" check (period in ('day', 'week', 'month')),
  constraint "a budget's days begin in a known time zone" check (observability_internal.is_timezone(timezone)),
  constraint "a budget's scope is an object of dimensions of calls" check (
    observability_internal.is_alert_scope(scope) and not scope ?| '{route,method}'::text[]
  ),
  constraint "a budget has 1 to 10 ascending steps, fractions of it" check (observability_internal.is_alert_steps(steps)),
  constraint "a forecast step is a fraction above 0 up to 10" check (forecast_step > 0 and forecast_step <= 10)
);

comment on table observability.budgets is 'US dollars per calendar day, week or month of a time zone; its rules are kept in alert_rules.';

create trigger stamp_change before insert or update on observability.budgets
for each row execute function observability_internal.stamp_change();

alter table observability.alert_rules
drop constraint if exists "a metric is spend, error_rate or p99_latency_ms",
drop constraint if exists "a metric is spend, error_rate, p99_latency_ms or provider_drift",
drop constraint "a threshold is a number from 0 to a billion",
drop constraint "an error rate is a fraction from 0 to 1",
drop constraint "a minimum sample is from 1 to a billion calls",
drop constraint if exists "a minimum sample is from 0 to a billion calls",
add column group_by text,
add column group_limit integer not null default 50,
add column period text,
add column timezone text not null default 'UTC',
add column comparator text not null default 'above',
add column critical_threshold numeric,
add column steps numeric[],
add column resolve_threshold numeric,
add column no_data text not null default 'ok',
add column renotify_s integer,
add column budget_id bigint,
add column is_managed boolean not null default false,
add constraint alert_rules_budget_id_fkey foreign key (budget_id)
references observability.budgets (budget_id) on delete cascade,
add constraint "a metric is one that Treering measures" check (
  metric in (
    'spend', 'tokens', 'requests', 'error_rate', 'p50_latency_ms', 'p90_latency_ms', 'p99_latency_ms',
    'p50_time_to_first_token_ms', 'p90_time_to_first_token_ms', 'p99_time_to_first_token_ms', 'route_requests',
    'route_error_rate', 'p50_route_latency_ms', 'p90_route_latency_ms', 'p99_route_latency_ms',
    'p50_route_time_to_first_byte_ms', 'p90_route_time_to_first_byte_ms', 'p99_route_time_to_first_byte_ms',
    'unpriced_share', 'estimated_share', 'provider_drift', 'pipeline_lag_s', 'budget_used', 'budget_forecast',
    'anomaly'
  )
),
add constraint "a threshold is a number from 0 to a quadrillion" check (threshold >= 0 and threshold < 1e15),
add constraint "a rate or share is a fraction from 0 to 1" check (
  metric not in ('error_rate', 'route_error_rate', 'unpriced_share', 'estimated_share')
  or greatest(threshold, critical_threshold) <= 1
),
add constraint "a minimum sample is from 0 to a billion" check (minimum_sample between 0 and 1000000000),
add constraint "a rule compares above or below" check (comparator in ('above', 'below')),
add constraint "a critical threshold lies beyond the threshold" check (
  case comparator when 'above' then critical_threshold > threshold else critical_threshold < threshold end
  and critical_threshold >= 0 and critical_threshold < 1e15
),
add constraint "a resolve threshold lies on the safe side of the threshold" check (
  case comparator when 'above' then resolve_threshold <= threshold else resolve_threshold >= threshold end
  and resolve_threshold >= 0 and resolve_threshold < 1e15
),
add constraint "steps are 1 to 10 ascending fractions" check (observability_internal.is_alert_steps(steps)),
add constraint "steps belong to a budget" check (steps is null or metric = 'budget_used'),
add constraint "without data a rule is ok, fires or keeps its state" check (no_data in ('ok', 'firing', 'keep')),
add constraint "a rule by group does not fire on missing data" check (no_data <> 'firing' or group_by is null),
add constraint "a reminder comes after a minute to 31 days" check (renotify_s between 60 and 2678400),
add constraint "a calendar window is a day, a week or a month" check (period in ('day', 'week', 'month')),
add constraint "a rule's days begin in a known time zone" check (observability_internal.is_timezone(timezone)),
add constraint "a calendar window has no lower limit: it begins empty" check (period is null or comparator = 'above'),
add constraint "one to 500 groups fire at once" check (group_limit between 1 and 500),
add constraint "groups are by user, feature, model, provider, environment or route" check (
  group_by in ('user_id', 'feature', 'model', 'provider', 'environment', 'route')
),
add constraint "routes are grouped by route or environment, calls never by route" check (
  case
    when metric in ('pipeline_lag_s', 'budget_used', 'budget_forecast') then group_by is null
    when metric like '%route\_%' then group_by in ('route', 'environment')
    else group_by <> 'route'
  end
),
add constraint "routes have the scope route, method, environment; calls never route or method" check (
  case
    when metric = 'pipeline_lag_s' then scope = '{}'
    when metric like '%route\_%' then scope - '{route,method,environment}'::text[] = '{}'
    else not scope ?| '{route,method}'::text[]
  end
),
add constraint "users are counted by quarters of an hour" check (
  window_s % 900 = 0 or not (group_by is not distinct from 'user_id' or scope ? 'user_id')
),
add constraint "a budget's metric has a budget, others none" check (
  (metric in ('budget_used', 'budget_forecast')) = (budget_id is not null)
),
add constraint "a managed rule is a budget's" check (budget_id is not null or not is_managed);

comment on table observability.alert_rules is 'Fires when the metric over the window is beyond the threshold for for_s seconds, once per group.';

comment on column observability.alert_rules.threshold is 'US dollars for spend; a fraction for rates, shares, drift and budgets; milliseconds or seconds where the metric says so.';

comment on column observability.alert_rules.minimum_sample is 'Calls (requests, for routes; days with a bill, for provider_drift) needed before a breach counts.';

comment on column observability.alert_rules.period is 'A calendar window of the time zone instead of the sliding window_s.';

comment on column observability.alert_rules.steps is 'Thresholds of a budget; each step passed tells once.';

comment on column observability.alert_rules.is_managed is 'Kept by its budget, not edited by itself.';

create unique index alert_rules_one_managed_per_budget_and_metric_idx
on observability.alert_rules (budget_id, metric) where is_managed;

create index alert_rules_budget_id_idx on observability.alert_rules (budget_id);

alter table observability.alerts
alter column value drop not null,
add column group_by text,
add column comparator text not null default 'above',
add column level integer not null default 1,
add column notified_level integer,
add column notified_at timestamptz,
add column message_count integer not null default 0,
add column evidence jsonb not null default '{}',
add column acknowledged_at timestamptz,
add column acknowledged_by text,
add column acknowledge_note text,
drop constraint "an alert ends by recovery or with its rule",
add constraint "an alert ends by recovery, without data or with its rule" check (
  resolution in ('recovered', 'no_data', 'rule_changed', 'rule_disabled', 'rule_deleted')
),
add constraint "an acknowledgement says when" check (
  acknowledged_at is not null or acknowledged_by is null and acknowledge_note is null
),
add constraint "a note has at most 2000 characters" check (char_length(acknowledge_note) <= 2000);

comment on column observability.alerts.level is 'Which threshold was passed, counted from 1; it only rises while the alert fires.';

update observability.alerts as a
set notified_level = 1, notified_at = a.started_at, message_count = 1;

alter table observability_internal.alert_states
add column groups_over_limit integer not null default 0;

comment on column observability_internal.alert_states.groups_over_limit is 'Groups that breach but exceed the rule''s group_limit; on the row of the empty group.';

create table observability.alert_transitions (
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
  references observability.alert_rules (rule_id) on delete set null,
  constraint alert_transitions_alert_id_fkey foreign key (alert_id)
  references observability.alerts (alert_id) on delete cascade,
  constraint "a transition is between ok, pending, firing, resolved, acknowledged" check (
    from_state in ('ok', 'pending', 'firing', 'resolved')
    and to_state in ('ok', 'pending', 'firing', 'resolved', 'acknowledged')
  )
);

comment on table observability.alert_transitions is 'Every change of state with its evidence: value, threshold, sample and window.';

create index alert_transitions_alert_id_idx on observability.alert_transitions (alert_id);

create index alert_transitions_rule_id_idx on observability.alert_transitions (rule_id, occurred_at);

create table observability.alert_silences (
  silence_id bigint generated always as identity,
  rule_id bigint not null,
  group_key text,
  ends_at timestamptz not null,
  note text,
  created_at timestamptz not null default now(),
  created_by text,
  constraint alert_silences_pkey primary key (silence_id),
  constraint alert_silences_rule_id_fkey foreign key (rule_id)
  references observability.alert_rules (rule_id) on delete cascade,
  constraint "a silence lasts at most 90 days" check (ends_at <= created_at + interval '90 days'),
  constraint "a silence's note has at most 2000 characters" check (char_length(note) <= 2000)
);

comment on table observability.alert_silences is 'Until when a rule, or one group of it, sends nothing; a null group is all of them.';

create index alert_silences_rule_id_idx on observability.alert_silences (rule_id, ends_at);

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
  references observability.alert_rules (rule_id) on delete cascade
);

comment on table observability_internal.metric_values is 'Values of metrics that the worker computes in Python (anomaly, budget_forecast), until they expire.';

alter table observability_internal.notifications
alter column alert_id drop not null,
add column sequence integer not null default 1,
add column last_attempt_at timestamptz,
drop constraint "an alert tells a channel of an event once",
drop constraint "a message says firing or resolved",
add constraint "an alert tells a channel each of its messages once" unique (alert_id, channel_id, event, sequence),
add constraint "a message says what it is about" check (
  event in ('firing', 'escalated', 'reminder', 'resolved', 'test', 'report')
),
add constraint "tests and reports have no alert, all others one" check ((alert_id is null) = (event in ('test', 'report')));

create index notifications_last_attempt_idx on observability_internal.notifications (channel_id, last_attempt_at);

alter table observability.notification_channels
add column max_per_minute integer not null default 60,
drop constraint "a channel is a webhook",
add constraint "a channel is a webhook or an apprise address" check (kind in ('webhook', 'apprise')),
add constraint "a channel takes 1 to 6000 messages a minute" check (max_per_minute between 1 and 6000);

alter table observability_internal.channel_secrets
alter column target_url drop not null,
alter column signing_secret drop not null,
add column sealed text,
add column vault_id uuid,
add constraint "a target is stored in one way" check (num_nonnulls(target_url, sealed, vault_id) = 1),
add constraint "a sealed target has at most 8000 characters" check (char_length(sealed) <= 8000);

comment on column observability_internal.channel_secrets.sealed is 'Address and signing secret, encrypted with TREERING_SECRET_KEY, which the database never sees.';

comment on column observability_internal.channel_secrets.vault_id is 'Where Supabase Vault keeps address and signing secret.';

comment on column observability_internal.channel_secrets.target_url is 'Unencrypted, as the first release stored it; saving the channel again ends that.';

alter table observability.budgets enable row level security;

alter table observability.alert_transitions enable row level security;

alter table observability.alert_silences enable row level security;

alter table observability_internal.metric_values enable row level security;

grant
select, delete, insert (name, amount, period, timezone, scope, steps, forecast_step, is_enabled),
update (name, amount, period, timezone, scope, steps, forecast_step, is_enabled)
on table observability.budgets to authenticated;

grant
insert (group_by, group_limit, period, timezone, comparator, critical_threshold, steps, resolve_threshold, no_data, renotify_s, budget_id, is_managed),
update (group_by, group_limit, period, timezone, comparator, critical_threshold, steps, resolve_threshold, no_data, renotify_s, budget_id, is_managed)
on table observability.alert_rules to authenticated;

grant insert (max_per_minute), update (max_per_minute) on table observability.notification_channels to authenticated;

grant select on table observability.alert_transitions, observability.alert_silences, observability_internal.metric_values
to authenticated;

grant select, insert, update, delete on table
observability.budgets, observability.alert_transitions, observability.alert_silences, observability_internal.metric_values
to service_role;

create policy "analysts see budgets" on observability.budgets
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "ops add budgets" on observability.budgets
for insert to authenticated
with check ((select observability_internal.is_ops()));

create policy "ops change budgets" on observability.budgets
for update to authenticated
using ((select observability_internal.is_ops()))
with check ((select observability_internal.is_ops()));

create policy "ops remove budgets" on observability.budgets
for delete to authenticated
using ((select observability_internal.is_ops()));

create policy "analysts see transitions" on observability.alert_transitions
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts see silences" on observability.alert_silences
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts see values from outside" on observability_internal.metric_values
for select to authenticated
using ((select observability_internal.can_read_all()));

grant execute on function observability_internal.is_alert_steps(numeric[]) to authenticated, service_role;

grant execute on function observability_internal.is_timezone(text) to authenticated, service_role;
