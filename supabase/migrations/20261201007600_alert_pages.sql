-- What the app shows of alerts and settings, and how people acknowledge and silence.
-- Locks: none; it only creates.

create function observability_internal.scope_meets(scope jsonb, filters jsonb) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select not exists (
    select
    from jsonb_each(scope) as dimension (name, names)
    cross join lateral (
      select
        coalesce(
          observability_internal.filter_values(filters, dimension.name),
          observability_internal.filter_values(filters -> 'tags', substring(dimension.name from '^tags\.(.*)'))
        ) as only_values,
        coalesce(
          observability_internal.filter_values(filters -> 'not', dimension.name),
          observability_internal.filter_values(filters -> 'not' -> 'tags', substring(dimension.name from '^tags\.(.*)'))
        ) as excluded
    ) as asked
    -- A rule whose scope is broken is shown under any filters.
    where jsonb_typeof(dimension.names) = 'array' and not exists (
      select
      from jsonb_array_elements_text(case jsonb_typeof(dimension.names) when 'array' then dimension.names else '[]' end) as n (name)
      where observability_internal.is_left(n.name, asked.only_values, asked.excluded)
    )
  );
$$;

comment on function observability_internal.scope_meets is 'Whether a scope and the page''s filters have calls in common.';
revoke execute on function observability_internal.scope_meets from public;
grant execute on function observability_internal.scope_meets to authenticated, service_role;

create function observability_internal.alert_times(
  from_time timestamptz, to_time timestamptz, filters jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'alerts', count(*),
    'mean_time_to_acknowledge_s', round(extract(epoch from avg(a.acknowledged_at - a.started_at))),
    'acknowledged', count(a.acknowledged_at),
    'mean_time_to_resolve_s', round(extract(epoch from avg(a.resolved_at - a.started_at) filter (where a.resolution = 'recovered'))),
    'recovered', count(*) filter (where a.resolution = 'recovered')
  )
  from observability_internal.alerts as a
  where a.started_at >= alert_times.from_time and a.started_at < alert_times.to_time
    and observability_internal.scope_meets(a.scope, filters);
$$;

comment on function observability_internal.alert_times is 'How many alerts of a range, and how long until they were acknowledged and recovered.';
revoke execute on function observability_internal.alert_times from public;
grant execute on function observability_internal.alert_times to authenticated, service_role;

create function observability_internal.outbox_entries(
  from_time timestamptz, to_time timestamptz, filters jsonb, row_limit integer
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'notification_id', n.notification_id, 'alert_id', n.alert_id, 'rule_name', n.rule_name,
        'channel_name', n.channel_name, 'is_critical', n.priority = 0,
        'event', n.event, 'state', n.state, 'attempts', n.attempts, 'last_error', n.last_error,
        'created_at', n.created_at, 'sent_at', n.sent_at, 'can_resend', n.state = 'dead' and n.channel_id is not null,
        'next_attempt_at', case when n.state = 'pending' then n.next_attempt_at end
      )
      order by n.created_at desc, n.notification_id desc
    ), '[]'
  )
  from (
    select sent.*, a.rule_name
    from observability_internal.notifications as sent
    left join observability_internal.alerts as a on sent.alert_id = a.alert_id
    where (
      sent.state = 'pending' or sent.created_at >= outbox_entries.from_time and sent.created_at < outbox_entries.to_time
    ) and (a.alert_id is null or observability_internal.scope_meets(a.scope, filters))
    order by sent.created_at desc, sent.notification_id desc
    limit row_limit
  ) as n;
$$;

comment on function observability_internal.outbox_entries is 'Messages that wait or are of a range, newest first.';
revoke execute on function observability_internal.outbox_entries from public;
grant execute on function observability_internal.outbox_entries to authenticated, service_role;

create function observability.get_alerts(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
#variable_conflict use_column
declare
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
  v_limit integer;
begin
  perform observability_internal.check_filters(get_alerts.from_time, get_alerts.to_time, filters);
  v_limit := coalesce(filters ->> 'limit', '100')::integer;
  return jsonb_build_object(
    'access', v_access, 'from_time', get_alerts.from_time, 'to_time', get_alerts.to_time, 'generated_at', now(),
    'firing', (
      select coalesce(
        jsonb_agg(
          observability_internal.describe_alert(a) || jsonb_build_object(
            'current_value', trim_scale(s.value)::text, 'evaluated_at', s.evaluated_at,
            'runbook_url', r.runbook_url, 'description', r.description,
            'silenced_until', (
              select max(q.ends_at) from observability_internal.alert_silences as q
              where q.rule_id = a.rule_id and (q.group_key is null or q.group_key = a.group_key) and q.ends_at > now()
            )
          )
          order by a.severity, a.started_at desc, a.alert_id desc
        ), '[]'
      )
      from observability_internal.alerts as a
      left join observability_internal.alert_states as s on a.rule_id = s.rule_id and a.group_key = s.group_key
      left join observability_internal.alert_rules as r on a.rule_id = r.rule_id
      where a.state = 'firing' and observability_internal.scope_meets(a.scope, filters)
    ),
    'history', (
      select coalesce(
        jsonb_agg(observability_internal.describe_alert(a) order by a.started_at desc, a.alert_id desc), '[]'
      )
      from (
        select past.*
        from observability_internal.alerts as past
        where past.state = 'resolved' and past.started_at < get_alerts.to_time
          and past.resolved_at >= get_alerts.from_time and observability_internal.scope_meets(past.scope, filters)
        order by past.started_at desc, past.alert_id desc
        limit v_limit
      ) as a
    ),
    'times', observability_internal.alert_times(get_alerts.from_time, get_alerts.to_time, filters),
    'transitions', observability_internal.recent_transitions(get_alerts.from_time, get_alerts.to_time, v_limit),
    'silences', observability_internal.running_silences(),
    'outbox', observability_internal.outbox_entries(get_alerts.from_time, get_alerts.to_time, filters, v_limit),
    'rules', (
      select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.name), '[]')
      from observability_internal.alert_rules as r
      where observability_internal.scope_meets(r.scope, filters)
    )
  );
end;
$$;

comment on function observability.get_alerts is
'The Alerts page: {access, firing, history, times, transitions, silences, outbox, rules}; filters by scope and limit '
'(100). Members get empty lists.';
revoke execute on function observability.get_alerts from public;
grant execute on function observability.get_alerts to authenticated, service_role;

create function observability.get_settings() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
#variable_conflict use_column
declare
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
begin
  -- Row level security leaves a member nothing of these lists, an analyst the rules and budgets.
  return jsonb_build_object(
    'access', v_access,
    'members', (
      select coalesce(jsonb_agg(to_jsonb(m) order by m.added_at, m.user_id), '[]')
      from observability_internal.members as m
      where v_access in ('ops', 'service')
    ),
    'rules', (
      select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.name), '[]')
      from observability_internal.alert_rules as r
    ),
    'budgets', (
      select coalesce(jsonb_agg(observability_internal.describe_budget(b) order by b.name), '[]')
      from observability_internal.budgets as b
    ),
    'channels', (
      select coalesce(jsonb_agg(observability_internal.describe_channel(c) order by c.name), '[]')
      from observability_internal.notification_channels as c
    ),
    'routes', (
      select coalesce(jsonb_agg(to_jsonb(o) order by o.after_s, o.name), '[]') from observability_internal.alert_routes as o
    ),
    'mutes', (
      select coalesce(jsonb_agg(to_jsonb(m) || jsonb_build_object(
        'is_active', m.is_enabled and observability_internal.is_mute_time(m, now())
      ) order by m.name), '[]')
      from observability_internal.alert_mutes as m
    ),
    'dimensions', (
      select coalesce(jsonb_object_agg(d.dimension, d.names), '{}')
      from (
        select n.dimension, jsonb_agg(distinct n.name order by n.name) as names
        from observability_internal.dimensions as v
        cross join lateral (
          values ('provider', v.provider), ('model', v.model), ('feature', v.feature), ('environment', v.environment),
          ('operation', v.operation), ('status', v.status)
        ) as n (dimension, name)
        where n.name <> '' and v_access in ('ops', 'service')
        group by n.dimension
        union all
        select 'tenant_id', o.options -> 'tenants'
        from (select observability_internal.attribution_options() as options) as o
        where v_access in ('ops', 'service') and o.options -> 'tenants' <> '[]'
        union all
        select 'tags.' || t.key, t.value
        from jsonb_each(observability_internal.attribution_options() -> 'tags') as t
        where v_access in ('ops', 'service')
        union all
        select 'route', jsonb_agg(distinct r.route order by r.route)
        from observability_internal.route_dimensions as r
        where v_access in ('ops', 'service')
        having count(*) > 0
      ) as d
    ),
    'has_vault', observability_internal.has_vault()
  );
end;
$$;

comment on function observability.get_settings is
'The Settings page: {access, members, rules, budgets, channels, routes, mutes, dimensions, has_vault}; analysts see rules and '
'budgets, ops all, members only their access.';
revoke execute on function observability.get_settings from public;
grant execute on function observability.get_settings to authenticated, service_role;

create function observability_internal.acknowledge(alert_id bigint, note text, actor text) returns observability_internal.alerts
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert observability_internal.alerts;
begin
  update observability_internal.alerts as a
  set acknowledged_at = clock_timestamp(), acknowledged_by = actor, acknowledge_note = nullif(trim(acknowledge.note), '')
  where a.alert_id = acknowledge.alert_id and a.state = 'firing'
  returning a.* into v_alert;
  if not found then
    raise exception 'no alert % is firing', acknowledge.alert_id using errcode = '22023';
  end if;
  insert into observability_internal.alert_transitions (
    rule_id, rule_name, alert_id, group_key, occurred_at, from_state, to_state, threshold, severity, actor, note
  )
  values (
    v_alert.rule_id, v_alert.rule_name, v_alert.alert_id, v_alert.group_key, v_alert.acknowledged_at, 'firing',
    'acknowledged', v_alert.threshold, v_alert.severity, actor, v_alert.acknowledge_note
  );
  -- A paging service stops calling people once everything of its incident is acknowledged.
  if v_alert.bundle is not null and not exists (
    select from observability_internal.alerts as a
    where a.bundle = v_alert.bundle and a.state = 'firing' and a.acknowledged_at is null
  ) then
    perform observability_internal.enqueue_bundle(
      v_alert.bundle, 'acknowledged', array[v_alert.alert_id],
      array(
        select c.channel_id from observability_internal.notification_channels as c
        where observability_internal.is_paging(c)
          and c.channel_id = any (observability_internal.hearing_channels(v_alert.bundle))
      ),
      v_alert.acknowledged_at
    );
  end if;
  return v_alert;
end;
$$;

comment on function observability_internal.acknowledge is 'Notes who looks after a firing alert, and tells the paging services that have it open.';
revoke execute on function observability_internal.acknowledge from public;
grant execute on function observability_internal.acknowledge to service_role;

-- Security definer: an alert is written by the evaluation alone, but ops may say that they look after it.
create function observability.acknowledge_alert(alert_id bigint, note text default null) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  return observability_internal.describe_alert(
    observability_internal.acknowledge(
      acknowledge_alert.alert_id, acknowledge_alert.note, coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
    )
  );
end;
$$;

comment on function observability.acknowledge_alert is 'Notes who looks after a firing alert; reminders end. Ops only. Returns the alert.';
revoke execute on function observability.acknowledge_alert from public;
grant execute on function observability.acknowledge_alert to authenticated, service_role;

-- Security definer: so that who silenced it is written here and not by the caller.
create function observability.silence_alerts(
  rule_id bigint, ends_at timestamptz, group_key text default null, note text default null
) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_silence observability_internal.alert_silences;
begin
  perform observability_internal.require_access('{ops,service}');
  if silence_alerts.ends_at is null or silence_alerts.ends_at <= clock_timestamp() then
    raise exception 'a silence ends in the future' using errcode = '22023';
  end if;
  insert into observability_internal.alert_silences as s (rule_id, group_key, ends_at, note, created_by)
  values (
    silence_alerts.rule_id, silence_alerts.group_key, silence_alerts.ends_at, nullif(trim(silence_alerts.note), ''),
    coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  )
  returning s.* into v_silence;
  return to_jsonb(v_silence);
end;
$$;

comment on function observability.silence_alerts is 'Keeps a rule, or one group of it, from sending until a moment; what still fires then is told. Ops only.';
revoke execute on function observability.silence_alerts from public;
grant execute on function observability.silence_alerts to authenticated, service_role;

-- Security definer: as silence_alerts.
create function observability.end_silence(silence_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  update observability_internal.alert_silences as s
  set ends_at = clock_timestamp()
  where s.silence_id = end_silence.silence_id and s.ends_at > clock_timestamp();
  return found;
end;
$$;

comment on function observability.end_silence is 'Ends a silence now. Ops only. False where none was running.';
revoke execute on function observability.end_silence from public;
grant execute on function observability.end_silence to authenticated, service_role;
