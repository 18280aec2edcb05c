-- Purpose: alert rules with their state, alerts, notification channels with their secrets, and the outbox.
-- Locks: none on existing objects.

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
        when dimension.name not in ('provider', 'model', 'feature', 'environment', 'operation', 'status') then true
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

comment on function observability_internal.is_alert_scope(jsonb) is 'Whether this is an object of known dimensions, each with 1 to 50 names.';

create table observability.notification_channels (
  channel_id bigint generated always as identity,
  name text not null,
  kind text not null default 'webhook',
  target_hint text,
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint notification_channels_pkey primary key (channel_id),
  constraint "no two channels share a name" unique (name),
  constraint "a channel's name has 1 to 120 characters" check (char_length(name) between 1 and 120),
  constraint "a channel is a webhook" check (kind in ('webhook'))
);

comment on table observability.notification_channels is 'Where alerts are sent. The address and the secret are write-only: only the host is shown.';

comment on column observability.notification_channels.target_hint is 'The host of the address, written together with it; null while there is none.';

create table observability_internal.channel_secrets (
  channel_id bigint not null,
  target_url text not null,
  signing_secret text not null,
  changed_at timestamptz not null default now(),
  constraint channel_secrets_pkey primary key (channel_id),
  constraint channel_secrets_channel_id_fkey foreign key (channel_id)
  references observability.notification_channels (channel_id) on delete cascade,
  constraint "a target is an http or https address without user or password" check (
    target_url ~ '^https?://[^\s\\/?#@]+([/?#][^\s\\]*)?$' and char_length(target_url) <= 2048
  ),
  constraint "a signing secret has 16 to 200 characters, after whsec_ base64" check (
    char_length(signing_secret) between 16 and 200
    and (signing_secret not like 'whsec\_%' or signing_secret ~ '^whsec_([A-Za-z0-9+/]{4}){4,}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$')
  )
);

comment on table observability_internal.channel_secrets is 'Addresses and signing secrets of channels. Granted to nobody but service_role, which sends.';

create table observability.alert_rules (
  rule_id bigint generated always as identity,
  name text not null,
  metric text not null,
  window_s integer not null,
  threshold numeric not null,
  for_s integer not null default 0,
  minimum_sample bigint not null default 1,
  scope jsonb not null default '{}',
  severity text not null default 'warning',
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint alert_rules_pkey primary key (rule_id),
  constraint "no two rules share a name" unique (name),
  constraint "a rule's name has 1 to 120 characters" check (char_length(name) between 1 and 120),
  constraint "a metric is spend, error_rate or p99_latency_ms" check (
    metric in ('spend', 'error_rate', 'p99_latency_ms')
  ),
  constraint "a window is whole minutes, from 1 minute to 31 days" check (
    window_s between 60 and 2678400 and window_s % 60 = 0
  ),
  constraint "a threshold is a number from 0 to a billion" check (threshold >= 0 and threshold < 1e9),
  constraint "an error rate is a fraction from 0 to 1" check (metric <> 'error_rate' or threshold <= 1),
  constraint "a breach lasts from 0 s to a day before it fires" check (for_s between 0 and 86400),
  constraint "a minimum sample is from 1 to a billion calls" check (minimum_sample between 1 and 1000000000),
  constraint "a scope is an object of dimensions, each a list of names" check (
    observability_internal.is_alert_scope(scope)
  ),
  constraint "severity is warning or critical" check (severity in ('warning', 'critical'))
);

comment on table observability.alert_rules is 'Fires when the metric over the window is above the threshold for for_s seconds.';

comment on column observability.alert_rules.threshold is 'US dollars for spend, a fraction for error_rate, milliseconds for p99_latency_ms.';

comment on column observability.alert_rules.minimum_sample is 'Calls (for p99_latency_ms: calls with a latency) needed before a breach counts.';

create table observability.alert_rule_channels (
  rule_id bigint not null,
  channel_id bigint not null,
  constraint alert_rule_channels_pkey primary key (rule_id, channel_id),
  constraint alert_rule_channels_rule_id_fkey foreign key (rule_id)
  references observability.alert_rules (rule_id) on delete cascade,
  constraint alert_rule_channels_channel_id_fkey foreign key (channel_id)
  references observability.notification_channels (channel_id) on delete cascade
);

comment on table observability.alert_rule_channels is 'Which channels a rule''s alerts go to.';

create index alert_rule_channels_channel_id_idx on observability.alert_rule_channels (channel_id);

create table observability.alerts (
  alert_id bigint generated always as identity,
  rule_id bigint,
  rule_name text not null,
  group_key text not null default '',
  metric text not null,
  scope jsonb not null,
  severity text not null,
  threshold numeric not null,
  state text not null default 'firing',
  value numeric not null,
  sample_count bigint not null,
  window_start timestamptz not null,
  window_end timestamptz not null,
  pending_since timestamptz not null,
  started_at timestamptz not null,
  resolved_at timestamptz,
  resolution text,
  resolved_value numeric,
  resolved_sample_count bigint,
  constraint alerts_pkey primary key (alert_id),
  constraint alerts_rule_id_fkey foreign key (rule_id) references observability.alert_rules (rule_id) on delete set null,
  constraint "an alert is firing or resolved" check (state in ('firing', 'resolved')),
  constraint "a resolved alert says when and why" check (
    (state = 'resolved') = (resolved_at is not null) and (state = 'resolved') = (resolution is not null)
  ),
  constraint "an alert ends by recovery or with its rule" check (
    resolution in ('recovered', 'rule_disabled', 'rule_deleted')
  )
);

comment on table observability.alerts is 'One row per breach from firing to resolved, with the figures that caused both.';

comment on column observability.alerts.value is 'The metric''s value when the alert fired, over [window_start, window_end).';

create unique index alerts_one_firing_per_rule_and_group_idx
on observability.alerts (rule_id, group_key) where state = 'firing';

create index alerts_rule_id_idx on observability.alerts (rule_id);

create index alerts_started_at_idx on observability.alerts (started_at);

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
  constraint alert_states_pkey primary key (rule_id, group_key),
  constraint alert_states_rule_id_fkey foreign key (rule_id)
  references observability.alert_rules (rule_id) on delete cascade,
  constraint alert_states_alert_id_fkey foreign key (alert_id) references observability.alerts (alert_id),
  constraint "a rule is ok, pending, firing or resolved" check (state in ('ok', 'pending', 'firing', 'resolved')),
  constraint "pending and firing know since when" check (
    (state in ('pending', 'firing')) = (pending_since is not null)
  ),
  constraint "a firing rule has its alert" check ((state = 'firing') = (alert_id is not null))
) with (fillfactor = 70);

comment on table observability_internal.alert_states is 'Where each rule stands; a rule that could not be evaluated says why in last_error.';

create index alert_states_alert_id_idx on observability_internal.alert_states (alert_id);

create table observability_internal.notifications (
  notification_id bigint generated always as identity,
  idempotency_key uuid not null default gen_random_uuid(),
  alert_id bigint not null,
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
  constraint notifications_pkey primary key (notification_id),
  constraint notifications_alert_id_fkey foreign key (alert_id)
  references observability.alerts (alert_id) on delete cascade,
  constraint notifications_channel_id_fkey foreign key (channel_id)
  references observability.notification_channels (channel_id) on delete set null,
  constraint "an alert tells a channel of an event once" unique (alert_id, channel_id, event),
  constraint "a message says firing or resolved" check (event in ('firing', 'resolved')),
  constraint "a message is pending, sent or dead" check (state in ('pending', 'sent', 'dead')),
  constraint "a sent message says when" check ((state = 'sent') = (sent_at is not null)),
  constraint "a lease has a holder and an end" check ((leased_by is null) = (leased_until is null))
);

comment on table observability_internal.notifications is 'The outbox: written in the transaction of the alert''s transition, sent afterwards until sent or dead.';

create index notifications_due_idx on observability_internal.notifications (next_attempt_at) where state = 'pending';

create index notifications_created_at_idx on observability_internal.notifications (created_at);

create index notifications_channel_id_idx on observability_internal.notifications (channel_id);

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

comment on function observability_internal.stamp_change() is 'Writes who made and last changed a row, and when.';

create trigger stamp_change before insert or update on observability.alert_rules
for each row execute function observability_internal.stamp_change();

create trigger stamp_change before insert or update on observability.notification_channels
for each row execute function observability_internal.stamp_change();

alter table observability.notification_channels enable row level security;

alter table observability_internal.channel_secrets enable row level security;

alter table observability.alert_rules enable row level security;

alter table observability.alert_rule_channels enable row level security;

alter table observability.alerts enable row level security;

alter table observability_internal.alert_states enable row level security;

alter table observability_internal.notifications enable row level security;

-- Who made a row, and the shown host, are written by triggers and functions, never by the caller.
grant select, delete, insert (name, kind, is_enabled), update (name, kind, is_enabled)
on table observability.notification_channels to authenticated;

grant
select, delete,
insert (name, metric, window_s, threshold, for_s, minimum_sample, scope, severity, is_enabled),
update (name, metric, window_s, threshold, for_s, minimum_sample, scope, severity, is_enabled)
on table observability.alert_rules to authenticated;

grant select, insert, delete on table observability.alert_rule_channels to authenticated;

grant select on table observability.alerts to authenticated;

grant select on table observability_internal.alert_states to authenticated;

grant select on table observability_internal.notifications to authenticated;

grant select, insert, update, delete on table
observability.notification_channels, observability_internal.channel_secrets, observability.alert_rules,
observability.alert_rule_channels, observability.alerts, observability_internal.alert_states,
observability_internal.notifications
to service_role;

create policy "ops see channels" on observability.notification_channels
for select to authenticated
using ((select observability_internal.is_ops()));

create policy "ops add channels" on observability.notification_channels
for insert to authenticated
with check ((select observability_internal.is_ops()));

create policy "ops change channels" on observability.notification_channels
for update to authenticated
using ((select observability_internal.is_ops()))
with check ((select observability_internal.is_ops()));

create policy "ops remove channels" on observability.notification_channels
for delete to authenticated
using ((select observability_internal.is_ops()));

create policy "analysts see rules" on observability.alert_rules
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "ops add rules" on observability.alert_rules
for insert to authenticated
with check ((select observability_internal.is_ops()));

create policy "ops change rules" on observability.alert_rules
for update to authenticated
using ((select observability_internal.is_ops()))
with check ((select observability_internal.is_ops()));

create policy "ops remove rules" on observability.alert_rules
for delete to authenticated
using ((select observability_internal.is_ops()));

create policy "analysts see where rules send" on observability.alert_rule_channels
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "ops add channels to rules" on observability.alert_rule_channels
for insert to authenticated
with check ((select observability_internal.is_ops()));

create policy "ops take channels from rules" on observability.alert_rule_channels
for delete to authenticated
using ((select observability_internal.is_ops()));

create policy "analysts see alerts" on observability.alerts
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts see where rules stand" on observability_internal.alert_states
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts see the outbox" on observability_internal.notifications
for select to authenticated
using ((select observability_internal.can_read_all()));

grant execute on function observability_internal.is_alert_scope(jsonb) to authenticated, service_role;
