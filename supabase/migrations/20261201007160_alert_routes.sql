-- On call: where alerts go beside their rule's own channels, who hears of them when nobody acknowledges, and when
-- nothing is sent.
-- Locks: none; it only creates.

create table observability_internal.alert_routes (
  route_id bigint generated always as identity,
  name text not null,
  severity text,
  labels jsonb not null default '{}',
  scope jsonb not null default '{}',
  after_s integer not null default 0,
  channels bigint[] not null,
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint alert_routes_pkey primary key (route_id),
  constraint "no two routes share a name" unique (name),
  constraint "a route's name has 1 to 120 characters" check (char_length(name) between 1 and 120),
  constraint "a route's severity is warning, critical or any" check (severity in ('warning', 'critical')),
  constraint "a route's labels are up to 20 texts by name" check (observability_internal.is_labels(labels)),
  constraint "a route's scope is an object of dimensions" check (observability_internal.is_alert_scope(scope)),
  constraint "a route waits from 0 s to a week" check (after_s between 0 and 604800),
  constraint "a route has 1 to 20 channels" check (cardinality(channels) between 1 and 20)
);

comment on table observability_internal.alert_routes is 'Alerts that match all of severity, labels and scope also go to these channels.';

comment on column observability_internal.alert_routes.after_s is 'Only where nobody has acknowledged within so long: an escalation.';

comment on column observability_internal.alert_routes.scope is 'Names by dimension, compared with the group of the alert and with the scope of its rule.';

alter table observability_internal.alert_routes enable row level security;

grant select on table observability_internal.alert_routes to authenticated;

grant select, insert, update, delete on table observability_internal.alert_routes to service_role;

create policy "analysts see routes" on observability_internal.alert_routes
for select to authenticated
using ((select observability_internal.can_read_all()));

create trigger stamp_change before insert or update on observability_internal.alert_routes
for each row execute function observability_internal.stamp_change();

create function observability_internal.is_weekdays(weekdays integer[]) returns boolean
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select cardinality(weekdays) between 1 and 7
    and weekdays = array(select distinct d.day from unnest(weekdays) as d (day) where d.day between 1 and 7 order by d.day);
$$;

comment on function observability_internal.is_weekdays is 'Whether these are 1 to 7 different days of the week, 1 for Monday, in ascending order.';
revoke execute on function observability_internal.is_weekdays from public;
grant execute on function observability_internal.is_weekdays to authenticated, service_role;

create table observability_internal.alert_mutes (
  mute_id bigint generated always as identity,
  name text not null,
  rules bigint[] not null default '{}',
  labels jsonb not null default '{}',
  starts_at timestamptz,
  ends_at timestamptz,
  weekdays integer[],
  from_time time,
  to_time time,
  timezone text not null default 'UTC',
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  created_by text,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint alert_mutes_pkey primary key (mute_id),
  constraint "no two mute times share a name" unique (name),
  constraint "a mute time's name has 1 to 120 characters" check (char_length(name) between 1 and 120),
  constraint "a mute time's labels are up to 20 texts by name" check (observability_internal.is_labels(labels)),
  constraint "a mute time is a window or recurs on weekdays" check (
    case
      when weekdays is null then num_nonnulls(starts_at, ends_at) = 2 and num_nonnulls(from_time, to_time) = 0
      else num_nonnulls(from_time, to_time) = 2
    end
  ),
  constraint "a mute time ends after it starts" check (ends_at > starts_at),
  constraint "a mute time has different ends" check (from_time <> to_time),
  constraint "a mute time's weekdays are 1 to 7, ascending" check (observability_internal.is_weekdays(weekdays)),
  constraint "a mute time's days begin in a known time zone" check (observability_internal.is_timezone(timezone))
);

comment on table observability_internal.alert_mutes is
'When rules send nothing: one window (maintenance), or hours of weekdays; both together are hours within a window. Without rules and labels: all rules.';

comment on column observability_internal.alert_mutes.to_time is 'Before from_time: of the next day.';

alter table observability_internal.alert_mutes enable row level security;

grant select on table observability_internal.alert_mutes to authenticated;

grant select, insert, update, delete on table observability_internal.alert_mutes to service_role;

create policy "analysts see mute times" on observability_internal.alert_mutes
for select to authenticated
using ((select observability_internal.can_read_all()));

create trigger stamp_change before insert or update on observability_internal.alert_mutes
for each row execute function observability_internal.stamp_change();

create function observability_internal.forget_rule_of_mutes() returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  -- Without rules it would hold for all of them.
  delete from observability_internal.alert_mutes as m where m.rules = array[old.rule_id];
  update observability_internal.alert_mutes as m
  set rules = array_remove(m.rules, old.rule_id)
  where old.rule_id = any (m.rules);
  return old;
end;
$$;

comment on function observability_internal.forget_rule_of_mutes is 'Takes a deleted rule out of mute times, and removes those that were for it alone.';
revoke execute on function observability_internal.forget_rule_of_mutes from public;

create trigger forget_rule_of_mutes after delete on observability_internal.alert_rules
for each row execute function observability_internal.forget_rule_of_mutes();

create function observability_internal.is_mute_time(mute observability_internal.alert_mutes, as_of timestamptz) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select (mute.starts_at is null or as_of >= mute.starts_at) and (mute.ends_at is null or as_of < mute.ends_at)
    and case
      when mute.weekdays is null then true
      when mute.from_time < mute.to_time
        then extract(isodow from l.moment) = any (mute.weekdays) and l.moment::time >= mute.from_time and l.moment::time < mute.to_time
      -- Over midnight the early hours belong to the day before.
      when l.moment::time >= mute.from_time then extract(isodow from l.moment) = any (mute.weekdays)
      else l.moment::time < mute.to_time and extract(isodow from l.moment - interval '1 day') = any (mute.weekdays)
    end
  from (select as_of at time zone mute.timezone as moment) as l;
$$;

comment on function observability_internal.is_mute_time is 'Whether a moment lies in a mute time.';
revoke execute on function observability_internal.is_mute_time from public;
grant execute on function observability_internal.is_mute_time to authenticated, service_role;

create function observability_internal.is_muted(rule observability_internal.alert_rules, as_of timestamptz) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select from observability_internal.alert_mutes as m
    where m.is_enabled and (m.rules = '{}' or rule.rule_id = any (m.rules)) and rule.labels @> m.labels
      and observability_internal.is_mute_time(m, as_of)
  );
$$;

comment on function observability_internal.is_muted is 'Whether a rule sends nothing at a moment because of a mute time.';
revoke execute on function observability_internal.is_muted from public;
grant execute on function observability_internal.is_muted to authenticated, service_role;

create function observability_internal.is_paging(channel observability_internal.notification_channels) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select channel.kind = 'apprise' and lower(channel.target_hint) in ('pagerduty', 'opsgenie', 'splunk', 'victorops');
$$;

comment on function observability_internal.is_paging is
'Whether a channel is a service that keeps an incident open until it is told its end: it needs every message of its own.';
revoke execute on function observability_internal.is_paging from public;
grant execute on function observability_internal.is_paging to authenticated, service_role;

create function observability_internal.alert_targets(rule observability_internal.alert_rules, as_of timestamptz)
returns table (alert_id bigint, channel_id bigint, after_s integer)
language sql
stable
security invoker
set search_path = ''
as $$
  select t.alert_id, t.channel_id, min(t.after_s)
  from (
    select a.alert_id, rc.channel_id, 0 as after_s
    from observability_internal.alerts as a
    inner join observability_internal.alert_rule_channels as rc on a.rule_id = rc.rule_id
    where a.rule_id = rule.rule_id and a.state = 'firing'
    union all
    select a.alert_id, c.channel_id, r.after_s
    from observability_internal.alerts as a
    inner join observability_internal.alert_routes as r
      on r.is_enabled and (r.severity is null or r.severity = a.severity) and rule.labels @> r.labels
        -- Nobody can acknowledge what has not been told, as during a mute time.
        and (r.after_s = 0 or a.acknowledged_at is null and a.first_notified_at + make_interval(secs => r.after_s) <= as_of)
    cross join unnest(r.channels) as c (channel_id)
    where a.rule_id = rule.rule_id and a.state = 'firing'
      and not exists (
        select from jsonb_each(r.scope) as d (name, names)
        where not coalesce(
          case when a.group_by = d.name then d.names ? a.group_key else d.names @> (a.scope -> d.name) end, false
        )
      )
  ) as t
  inner join observability_internal.notification_channels as c on t.channel_id = c.channel_id and c.is_enabled
  group by t.alert_id, t.channel_id;
$$;

comment on function observability_internal.alert_targets is
'Which channels the firing alerts of a rule go to by now: the rule''s own, and those of the routes that match.';
revoke execute on function observability_internal.alert_targets from public;
grant execute on function observability_internal.alert_targets to service_role;
