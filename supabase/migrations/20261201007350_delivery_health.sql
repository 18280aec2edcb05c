-- Digests of what exceeds a channel's limit by the hour, and what is known of messages that do not arrive.
-- Locks: none; it only creates.

create function observability_internal.digest_entries(notification_ids bigint[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_agg(
    jsonb_build_object(
      'event', f.event, 'alert_id', f.alert_id, 'rule_name', f.payload #>> '{alert,rule_name}',
      'group_key', f.payload #>> '{alert,group_key}', 'severity', f.payload #>> '{alert,severity}'
    )
    order by f.notification_id
  )
  from (
    select n.* from observability_internal.notifications as n
    where n.notification_id = any (notification_ids)
    order by n.notification_id
    limit 10
  ) as f;
$$;

comment on function observability_internal.digest_entries is 'The first ten messages of a digest: [{event, alert_id, rule_name, group_key, severity}].';
revoke execute on function observability_internal.digest_entries from public;
grant execute on function observability_internal.digest_entries to service_role;

create function observability_internal.fold_notifications(as_of timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_full record;
  v_ids bigint[];
begin
  for v_full in
    select c.channel_id, c.name
    from observability_internal.notification_channels as c
    where c.max_per_hour is not null and c.is_enabled and not observability_internal.is_paging(c)
      and (
        select count(*) from observability_internal.notifications as n
        where n.channel_id = c.channel_id and n.priority = 1 and n.last_attempt_at > as_of - interval '1 hour'
      ) >= c.max_per_hour - 1
      -- One digest an hour, the last message that the limit leaves room for.
      and not exists (
        select from observability_internal.notifications as n
        where n.channel_id = c.channel_id and n.event = 'digest' and n.created_at > as_of - interval '1 hour'
      )
  loop
    with waiting as (
      select n.notification_id from observability_internal.notifications as n
      where n.channel_id = v_full.channel_id and n.state = 'pending' and n.attempts = 0 and n.priority = 1
        and n.event in ('firing', 'escalated', 'reminder', 'resolved') and n.next_attempt_at <= as_of
      for update skip locked
    ),
    folded as (
      update observability_internal.notifications as n
      set state = 'folded', last_error = 'told in a digest: the channel''s limit by the hour was reached'
      from waiting as w
      where n.notification_id = w.notification_id
      returning n.notification_id
    )
    select array_agg(f.notification_id) into v_ids from folded as f;
    if v_ids is not null then
      insert into observability_internal.notifications (channel_id, channel_name, event, payload, next_attempt_at, created_at)
      values (
        v_full.channel_id, v_full.name, 'digest',
        jsonb_build_object(
          'schema', 'treering.alert/1', 'event', 'digest', 'occurred_at', as_of, 'channel', v_full.name,
          'count', cardinality(v_ids), 'entries', observability_internal.digest_entries(v_ids)
        ),
        as_of, as_of
      );
    end if;
  end loop;
end;
$$;

comment on function observability_internal.fold_notifications is
'Replaces what waits at channels that have reached their limit by the hour by one digest each.';
revoke execute on function observability_internal.fold_notifications from public;
grant execute on function observability_internal.fold_notifications to service_role;

create table observability_internal.delivery_reports (
  report_id boolean not null default true,
  told_at timestamptz not null,
  told_dead bigint not null,
  constraint delivery_reports_pkey primary key (report_id),
  constraint "there is one row" check (report_id)
);

comment on table observability_internal.delivery_reports is
'When the fallback channel was last told of messages that do not arrive, and the last dead one that it was told of.';

alter table observability_internal.delivery_reports enable row level security;

grant select, insert, update, delete on table observability_internal.delivery_reports to service_role;

create function observability_internal.undelivered(as_of timestamptz)
returns table (notification_id bigint, channel_id bigint, channel_name text, is_dead boolean, due_at timestamptz)
language sql
stable
security invoker
set search_path = ''
as $$
  -- A message is overdue five minutes after it was written; a dead one counts for a day, or until it is sent again.
  select n.notification_id, n.channel_id, n.channel_name, n.state = 'dead', n.created_at + interval '5 minutes'
  from observability_internal.notifications as n
  where n.event <> 'test' and (
    n.state = 'pending' and n.created_at < as_of - interval '5 minutes'
    -- No message is tried for a week: the bound finds the few rows by an index.
    or n.state = 'dead' and n.created_at > as_of - interval '8 days'
    and coalesce(n.last_attempt_at, n.created_at) > as_of - interval '1 day'
  );
$$;

comment on function observability_internal.undelivered is 'Messages that are overdue or dead.';
revoke execute on function observability_internal.undelivered from public;
grant execute on function observability_internal.undelivered to authenticated, service_role;

create function observability_internal.silent_rules() returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
  select r.name
  from observability_internal.alert_rules as r
  where r.is_enabled
    and not exists (
      select from observability_internal.alert_rule_channels as rc
      inner join observability_internal.notification_channels as c on rc.channel_id = c.channel_id
      where rc.rule_id = r.rule_id and c.is_enabled
    )
    and not exists (
      select from observability_internal.alert_routes as o
      inner join observability_internal.notification_channels as c on c.channel_id = any (o.channels) and c.is_enabled
      where o.is_enabled and o.severity is null and o.scope = '{}' and r.labels @> o.labels
    )
  order by r.name;
$$;

comment on function observability_internal.silent_rules is
'Enabled rules that send to nobody: no enabled channel of their own, and no route that takes all of their alerts.';
revoke execute on function observability_internal.silent_rules from public;
grant execute on function observability_internal.silent_rules to authenticated, service_role;

create function observability.get_delivery_health(as_of timestamptz default null) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
as $$
declare
  v_now constant timestamptz := coalesce(get_delivery_health.as_of, clock_timestamp());
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
begin
  -- Row level security leaves a member none of these rows, and so nothing to see.
  return jsonb_build_object(
    'access', v_access, 'server_time', v_now,
    'overdue', (select count(*) from observability_internal.undelivered(v_now) as u where not u.is_dead),
    'dead', (select count(*) from observability_internal.undelivered(v_now) as u where u.is_dead),
    'oldest_due_at', (select min(u.due_at) from observability_internal.undelivered(v_now) as u where not u.is_dead),
    'channels', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'channel_name', c.channel_name, 'overdue', c.overdue, 'dead', c.dead, 'failing_since', h.failing_since,
            'last_error', h.last_error
          )
          order by c.channel_name
        ), '[]'
      )
      from (
        select
          u.channel_id, u.channel_name, count(*) filter (where not u.is_dead) as overdue, count(*) filter (where u.is_dead) as dead
        from observability_internal.undelivered(v_now) as u
        group by u.channel_id, u.channel_name
      ) as c
      left join observability_internal.channel_health as h on c.channel_id = h.channel_id
    ),
    'silent_rules', (select coalesce(jsonb_agg(r.name), '[]') from observability_internal.silent_rules() as r (name))
  );
end;
$$;

comment on function observability.get_delivery_health is
'Messages that do not arrive: {access, server_time, overdue, dead, oldest_due_at, channels, silent_rules}. Members get zeros.';
revoke execute on function observability.get_delivery_health from public;
grant execute on function observability.get_delivery_health to authenticated, service_role;

create function observability.get_delivery_report(as_of timestamptz default null) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_now constant timestamptz := coalesce(get_delivery_report.as_of, clock_timestamp());
  v_told observability_internal.delivery_reports;
begin
  select * into v_told from observability_internal.delivery_reports as r;
  -- At most once an hour, and again only where a message has died since or messages are overdue still.
  if v_told.told_at > v_now - interval '1 hour' or not exists (
    select from observability_internal.undelivered(v_now) as u
    where not u.is_dead or u.notification_id > coalesce(v_told.told_dead, 0)
  ) then
    return null;
  end if;
  return observability.get_delivery_health(v_now);
end;
$$;

comment on function observability.get_delivery_report is
'What the fallback channel is to be told now, as get_delivery_health; null where there is nothing new.';
revoke execute on function observability.get_delivery_report from public;
grant execute on function observability.get_delivery_report to service_role;

create function observability.note_delivery_report(as_of timestamptz default null) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.delivery_reports as r (told_at, told_dead)
  select
    coalesce(as_of, clock_timestamp()),
    coalesce((select max(n.notification_id) from observability_internal.notifications as n where n.state = 'dead'), 0)
  on conflict (report_id) do update
  set told_at = excluded.told_at, told_dead = excluded.told_dead;
$$;

comment on function observability.note_delivery_report is 'Notes that the fallback channel was told.';
revoke execute on function observability.note_delivery_report from public;
grant execute on function observability.note_delivery_report to service_role;
