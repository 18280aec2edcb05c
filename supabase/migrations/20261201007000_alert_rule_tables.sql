-- Alert rules, budgets, and the channels that their messages go to.
-- Locks: none; it only creates.

create function observability_internal.is_alert_scope(scope jsonb) returns boolean
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
          'provider', 'model', 'feature', 'environment', 'operation', 'status', 'user_id', 'tenant_id', 'route', 'method'
        ) and dimension.name !~ '^tags\.[a-z][a-z0-9_]{0,39}$' then true
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

comment on function observability_internal.is_alert_scope is 'Whether this is an object of known dimensions, each with 1 to 50 names.';
revoke execute on function observability_internal.is_alert_scope from public;
grant execute on function observability_internal.is_alert_scope to authenticated, service_role;

create function observability_internal.counts_users(group_by text, scope jsonb) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select coalesce(group_by in ('user_id', 'tenant_id') or group_by like 'tags.%', false) or exists (
    select from jsonb_object_keys(case jsonb_typeof(scope) when 'object' then scope else '{}' end) as k (name)
    where k.name in ('user_id', 'tenant_id') or k.name like 'tags.%'
  );
$$;

comment on function observability_internal.counts_users is
'Whether a rule is by user, tenant or tag, which the rollup by user tells apart: its rows are quarters of an hour.';
revoke execute on function observability_internal.counts_users from public;
grant execute on function observability_internal.counts_users to authenticated, service_role;

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

comment on function observability_internal.is_alert_steps is 'Whether these are 1 to 10 different fractions above 0 and up to 10, in ascending order.';
revoke execute on function observability_internal.is_alert_steps from public;
grant execute on function observability_internal.is_alert_steps to authenticated, service_role;

-- A condition is a threshold on another metric of the same calls or requests.
create function observability_internal.is_alert_conditions(conditions jsonb, metric text) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when jsonb_typeof(conditions) is distinct from 'array' then false
    when jsonb_array_length(conditions) = 0 then true
    when jsonb_array_length(conditions) > 5 or observability_internal.metric_kinds() ->> metric = 'figure' then false
    else not exists (
      select
      from jsonb_array_elements(conditions) as e (condition)
      where case
        when jsonb_typeof(e.condition) <> 'object' then true
        when not e.condition ?& '{metric,comparator,threshold}' or e.condition - '{metric,comparator,threshold}'::text[] <> '{}' then true
        when coalesce(observability_internal.metric_kinds() ->> (e.condition ->> 'metric'), '') not in ('amount', 'share', 'quantile') then true
        when (e.condition ->> 'metric' like '%route\_%') <> (metric like '%route\_%') then true
        when e.condition ->> 'comparator' not in ('above', 'below') then true
        else (e.condition ->> 'threshold')::numeric not between 0 and case
          when observability_internal.metric_kinds() ->> (e.condition ->> 'metric') = 'share' then 1 else 1e15
        end
      end
    )
  end;
$$;

comment on function observability_internal.is_alert_conditions is
'Whether these are at most 5 {metric, comparator, threshold} of what the metric is measured of.';
revoke execute on function observability_internal.is_alert_conditions from public;
grant execute on function observability_internal.is_alert_conditions to authenticated, service_role;

create function observability_internal.is_labels(labels jsonb) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when jsonb_typeof(labels) is distinct from 'object' then false
    else (select count(*) from jsonb_object_keys(labels)) <= 20 and not exists (
      select
      from jsonb_each(labels) as l
      where jsonb_typeof(l.value) <> 'string' or char_length(l.value #>> '{}') not between 1 and 200
        or l.key !~ '^[A-Za-z0-9_.-]{1,60}$'
    )
  end;
$$;

comment on function observability_internal.is_labels is 'Whether this is an object of at most 20 texts.';
revoke execute on function observability_internal.is_labels from public;
grant execute on function observability_internal.is_labels to authenticated, service_role;

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

comment on function observability_internal.is_timezone is 'Whether the database knows this time zone.';
revoke execute on function observability_internal.is_timezone from public;
grant execute on function observability_internal.is_timezone to authenticated, service_role;

create table observability_internal.notification_channels (
  channel_id bigint generated always as identity,
  name text not null,
  kind text not null default 'webhook',
  target_hint text,
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  max_per_minute integer not null default 60,
  max_per_hour integer,
  constraint notification_channels_pkey primary key (channel_id),
  constraint "no two channels share a name" unique (name),
  constraint "a channel's name has 1 to 120 characters" check (char_length(name) between 1 and 120),
  constraint "a channel is a webhook or an apprise address" check (kind in ('webhook', 'apprise')),
  constraint "a channel takes 1 to 6000 messages a minute" check (max_per_minute between 1 and 6000),
  constraint "a channel takes 2 to 10000 messages an hour" check (max_per_hour between 2 and 10000)
);

comment on table observability_internal.notification_channels is 'Where alerts are sent. The address and the secret are write-only: only the host is shown.';

comment on column observability_internal.notification_channels.max_per_hour is
'What exceeds it is told in one message, a digest; null is no limit. Critical alerts are not counted.';

comment on column observability_internal.notification_channels.target_hint is 'The host of the address, written together with it; null while there is none.';

alter table observability_internal.notification_channels enable row level security;

grant select on table observability_internal.notification_channels to authenticated;

grant select, insert, update, delete on table observability_internal.notification_channels to service_role;

create policy "ops see channels" on observability_internal.notification_channels
for select to authenticated
using ((select observability_internal.is_ops()));

create table observability_internal.channel_secrets (
  channel_id bigint not null,
  target_url text,
  signing_secret text,
  changed_at timestamptz not null default now(),
  sealed text,
  vault_id uuid,
  constraint channel_secrets_pkey primary key (channel_id),
  constraint channel_secrets_channel_id_fkey foreign key (channel_id)
  references observability_internal.notification_channels (channel_id) on delete cascade,
  constraint "a target is an http or https address without user or password" check (
    target_url ~ '^https?://[^\s\\/?#@]+([/?#][^\s\\]*)?$' and char_length(target_url) <= 2048
  ),
  constraint "a signing secret has 16 to 200 characters, after whsec_ base64" check (
    char_length(signing_secret) between 16 and 200
    and (signing_secret not like 'whsec\_%' or signing_secret ~ '^whsec_([A-Za-z0-9+/]{4}){4,}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$')
  ),
  constraint "a target is stored in one way" check (num_nonnulls(target_url, sealed, vault_id) = 1),
  constraint "a sealed target has at most 8000 characters" check (char_length(sealed) <= 8000)
);

comment on table observability_internal.channel_secrets is 'Addresses and signing secrets of channels. Granted to nobody but service_role, which sends.';

comment on column observability_internal.channel_secrets.sealed is
'Address and signing secret, encrypted with TREERING_SECRET_KEY, which the database never sees.';

comment on column observability_internal.channel_secrets.vault_id is 'Where Supabase Vault keeps address and signing secret.';

comment on column observability_internal.channel_secrets.target_url is 'Unencrypted, as the first release stored it; saving the channel again ends that.';

alter table observability_internal.channel_secrets enable row level security;

grant select, insert, update, delete on table observability_internal.channel_secrets to service_role;

create table observability_internal.budgets (
  budget_id bigint generated always as identity,
  name text not null,
  amount numeric not null,
  period text not null default 'month',
  timezone text not null default 'UTC',
  scope jsonb not null default '{}',
  steps numeric[] not null default '{0.8,1}',
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

comment on table observability_internal.budgets is 'US dollars per calendar day, week or month of a time zone; its rules are kept in alert_rules.';

alter table observability_internal.budgets enable row level security;

grant select on table observability_internal.budgets to authenticated;

grant select, insert, update, delete on table observability_internal.budgets to service_role;

create policy "analysts see budgets" on observability_internal.budgets
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.alert_rules (
  rule_id bigint generated always as identity,
  name text not null,
  metric text not null,
  window_s integer not null,
  threshold numeric not null,
  for_s integer not null default 0,
  minimum_sample bigint not null default 1,
  minimum_change numeric,
  scope jsonb not null default '{}',
  severity text not null default 'warning',
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  group_by text,
  group_limit integer not null default 50,
  period text,
  timezone text not null default 'UTC',
  comparator text not null default 'above',
  critical_threshold numeric,
  steps numeric[],
  resolve_threshold numeric,
  no_data text not null default 'keep',
  renotify_s integer,
  budget_id bigint,
  is_managed boolean not null default false,
  description text,
  runbook_url text,
  labels jsonb not null default '{}',
  keep_firing_s integer not null default 0,
  cooldown_s integer not null default 0,
  conditions jsonb not null default '[]',
  objective numeric,
  objective_ms numeric,
  constraint alert_rules_pkey primary key (rule_id),
  constraint "no two rules share a name" unique (name),
  constraint "a rule's name has 1 to 120 characters" check (char_length(name) between 1 and 120),
  constraint "a window is whole minutes, from 1 minute to 31 days" check (
    window_s between 60 and 2678400 and window_s % 60 = 0
  ),
  constraint "a breach lasts from 0 s to a day before it fires" check (for_s between 0 and 86400),
  constraint "a scope is an object of dimensions, each a list of names" check (
    observability_internal.is_alert_scope(scope)
  ),
  constraint "severity is warning or critical" check (severity in ('warning', 'critical')),
  constraint "a provider's drift is measured over two days or more" check (
    metric <> 'provider_drift' or window_s >= 172800
  ),
  constraint "a provider's drift is of a provider and environments" check (
    metric <> 'provider_drift' or scope - '{provider,environment}'::text[] = '{}'
  ),
  constraint alert_rules_budget_id_fkey foreign key (budget_id)
  references observability_internal.budgets (budget_id) on delete cascade,
  constraint "a metric is one that Treering measures" check (
    observability_internal.metric_kinds() ? metric
  ),
  constraint "a threshold is a number from 0 to a quadrillion" check (threshold >= 0 and threshold < 1e15),
  constraint "a rate or share is a fraction from 0 to 1" check (
    observability_internal.metric_kinds() ->> metric <> 'share' or greatest(threshold, critical_threshold) <= 1
  ),
  constraint "a minimum sample is from 0 to a billion" check (minimum_sample between 0 and 1000000000),
  constraint "a minimum change is from 0 to a quadrillion" check (minimum_change >= 0 and minimum_change < 1e15),
  constraint "only what is unusual has a minimum change" check (minimum_change is null or metric like 'anomaly%'),
  constraint "drops are not judged by user, latency by feature or model" check (
    case metric
      when 'anomaly_requests_below' then coalesce(group_by in ('feature', 'model', 'provider', 'environment'), true)
      when 'anomaly_latency_ms' then coalesce(group_by in ('feature', 'model'), true)
      else true
    end
  ),
  constraint "a rule compares above or below" check (comparator in ('above', 'below')),
  constraint "a critical threshold lies beyond the threshold" check (
    case comparator when 'above' then critical_threshold > threshold else critical_threshold < threshold end
    and critical_threshold >= 0 and critical_threshold < 1e15
  ),
  constraint "a resolve threshold lies on the safe side of the threshold" check (
    case comparator when 'above' then resolve_threshold <= threshold else resolve_threshold >= threshold end
    and resolve_threshold >= 0 and resolve_threshold < 1e15
  ),
  constraint "steps are 1 to 10 ascending fractions" check (observability_internal.is_alert_steps(steps)),
  constraint "steps belong to a budget" check (steps is null or metric = 'budget_used'),
  constraint "without data a rule is ok, fires or keeps its state" check (no_data in ('ok', 'firing', 'keep')),
  constraint "a rule by group does not fire on missing data" check (no_data <> 'firing' or group_by is null),
  constraint "a reminder comes after a minute to 31 days" check (renotify_s between 60 and 2678400),
  constraint "a calendar window is a day, a week or a month" check (period in ('day', 'week', 'month')),
  constraint "a rule's days begin in a known time zone" check (observability_internal.is_timezone(timezone)),
  constraint "a calendar window has no lower limit: it begins empty" check (period is null or comparator = 'above'),
  constraint "one to 500 groups fire at once" check (group_limit between 1 and 500),
  constraint "groups are by user, tenant, tag, feature, model, provider, environment or route" check (
    group_by in ('user_id', 'tenant_id', 'feature', 'model', 'provider', 'environment', 'route')
    or group_by ~ '^tags\.[a-z][a-z0-9_]{0,39}$'
  ),
  constraint "routes are grouped by route or environment, calls never by route" check (
    case
      when metric in ('pipeline_lag_s', 'new_saving', 'undelivered_messages', 'budget_used', 'budget_forecast') then group_by is null
      when metric like '%route\_%' then group_by in ('route', 'environment')
      else group_by <> 'route'
    end
  ),
  constraint "routes have the scope route, method, environment; calls never route or method" check (
    case
      when metric in ('pipeline_lag_s', 'new_saving', 'undelivered_messages') then scope = '{}'
      when metric like '%route\_%' then scope - '{route,method,environment}'::text[] = '{}'
      else not scope ?| '{route,method}'::text[]
    end
  ),
  constraint "users, tenants and tags are counted by quarters of an hour" check (
    window_s % 900 = 0 or not observability_internal.counts_users(group_by, scope)
  ),
  constraint "a budget's metric has a budget, others none" check (
    (metric in ('budget_used', 'budget_forecast')) = (budget_id is not null)
  ),
  constraint "a rule's description has at most 2000 characters" check (char_length(description) <= 2000),
  constraint "a runbook is an http or https address" check (
    runbook_url ~ '^https?://[^\s]+$' and char_length(runbook_url) <= 2048
  ),
  constraint "a rule's labels are up to 20 texts by name" check (observability_internal.is_labels(labels)),
  constraint "an alert keeps firing for 0 s to a day" check (keep_firing_s between 0 and 86400),
  constraint "a cool-down lasts from 0 s to 7 days" check (cooldown_s between 0 and 604800),
  constraint "conditions are up to 5 thresholds on metrics of the same calls" check (
    observability_internal.is_alert_conditions(conditions, metric)
  ),
  constraint "a burn rate has an objective from 0.5 to 0.99999, others none" check (
    case observability_internal.metric_kinds() ->> metric
      when 'burn' then coalesce(objective between 0.5 and 0.99999, false) else objective is null
    end
  ),
  constraint "a burn rate of latency has its limit in ms, others none" check (
    case when metric like '%latency\_burn\_rate' then coalesce(objective_ms > 0 and objective_ms < 1e9, false) else objective_ms is null end
  ),
  constraint "a burn rate is above a threshold, over 12 minutes to 7 days" check (
    observability_internal.metric_kinds() ->> metric <> 'burn'
    or comparator = 'above' and period is null and window_s between 720 and 604800
  ),
  constraint "a change against last week has a sliding window of at most 7 days" check (
    observability_internal.metric_kinds() ->> metric <> 'change' or period is null and window_s <= 604800
  ),
  constraint "a managed rule is a budget's" check (budget_id is not null or not is_managed)
);

comment on table observability_internal.alert_rules is 'Fires when the metric over the window is beyond the threshold for for_s seconds, once per group.';

comment on column observability_internal.alert_rules.threshold is
'US dollars for spend; a fraction for rates, shares, drift and budgets; milliseconds or seconds where the metric says'
' so.';

comment on column observability_internal.alert_rules.minimum_sample is
'Calls (requests, for routes; days with a bill, for provider_drift) needed before a breach counts.';

comment on column observability_internal.alert_rules.minimum_change is
'How far from the usual, in the unit of the metric, a change must at least be; null is the default of the metric.';

comment on column observability_internal.alert_rules.period is 'A calendar window of the time zone instead of the sliding window_s.';

comment on column observability_internal.alert_rules.steps is 'Thresholds of a budget; each step passed tells once.';

comment on column observability_internal.alert_rules.keep_firing_s is 'How long the breach must be over before the alert ends.';

comment on column observability_internal.alert_rules.cooldown_s is 'How long after its alert has ended a group does not fire again.';

comment on column observability_internal.alert_rules.conditions is
'[{metric, comparator, threshold}] over the same window, scope and group; a breach is one where all of them hold.';

comment on column observability_internal.alert_rules.objective is 'Of a burn rate: the share of calls that are to be good, like 0.995.';

comment on column observability_internal.alert_rules.objective_ms is 'Of a burn rate of latency: a call is good up to this duration.';

comment on column observability_internal.alert_rules.is_managed is 'Kept by its budget, not edited by itself.';

create unique index alert_rules_one_managed_per_budget_and_metric_idx
on observability_internal.alert_rules (budget_id, metric) where is_managed;

create index alert_rules_budget_id_idx on observability_internal.alert_rules (budget_id);

alter table observability_internal.alert_rules enable row level security;

grant select on table observability_internal.alert_rules to authenticated;

grant select, insert, update, delete on table observability_internal.alert_rules to service_role;

create policy "analysts see rules" on observability_internal.alert_rules
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.alert_rule_channels (
  rule_id bigint not null,
  channel_id bigint not null,
  constraint alert_rule_channels_pkey primary key (rule_id, channel_id),
  constraint alert_rule_channels_rule_id_fkey foreign key (rule_id)
  references observability_internal.alert_rules (rule_id) on delete cascade,
  constraint alert_rule_channels_channel_id_fkey foreign key (channel_id)
  references observability_internal.notification_channels (channel_id) on delete cascade
);

comment on table observability_internal.alert_rule_channels is 'Which channels a rule''s alerts go to.';

create index alert_rule_channels_channel_id_idx on observability_internal.alert_rule_channels (channel_id);

alter table observability_internal.alert_rule_channels enable row level security;

grant select on table observability_internal.alert_rule_channels to authenticated;

grant select, insert, update, delete on table observability_internal.alert_rule_channels to service_role;

create policy "analysts see where rules send" on observability_internal.alert_rule_channels
for select to authenticated
using ((select observability_internal.can_read_all()));

create function observability_internal.stamp_change() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  new.updated_at := now();
  new.updated_by := coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role');
  if tg_op = 'INSERT' then
    new.created_at := new.updated_at;
    new.created_by := new.updated_by;
  end if;
  return new;
end;
$$;

comment on function observability_internal.stamp_change is 'Writes who made and last changed a row, and when.';
revoke execute on function observability_internal.stamp_change from public;

create trigger stamp_change before insert or update on observability_internal.notification_channels
for each row execute function observability_internal.stamp_change();

create trigger stamp_change before insert or update on observability_internal.alert_rules
for each row execute function observability_internal.stamp_change();

create trigger stamp_change before insert or update on observability_internal.budgets
for each row execute function observability_internal.stamp_change();
