-- Purpose: the documents of the Alerts and Settings pages.
-- Locks: none.

create function observability_internal.scope_meets(scope jsonb, filters jsonb) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select not exists (
    select
    from jsonb_each(scope) as dimension (name, names)
    where observability_internal.filter_values(filters, dimension.name) is not null
      and not dimension.names ?| observability_internal.filter_values(filters, dimension.name)
  );
$$;

comment on function observability_internal.scope_meets(jsonb, jsonb) is 'Whether a scope and the page''s filters have calls in common.';

create function observability.get_alerts(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
as $$
#variable_conflict use_column
declare
  v_access constant text := observability_internal.require_access('{member,analyst,ops,service}');
  v_limit integer;
begin
  perform observability_internal.check_filters(get_alerts.from_time, get_alerts.to_time, filters);
  v_limit := coalesce(filters ->> 'limit', '100')::integer;
  return jsonb_build_object(
    'access', v_access, 'from_time', get_alerts.from_time, 'to_time', get_alerts.to_time, 'generated_at', now(),
    'firing', (
      select coalesce(
        jsonb_agg(observability_internal.describe_alert(a) order by a.severity, a.started_at desc, a.alert_id desc), '[]'
      )
      from observability.alerts as a
      where a.state = 'firing' and observability_internal.scope_meets(a.scope, filters)
    ),
    'history', (
      select coalesce(
        jsonb_agg(observability_internal.describe_alert(a) order by a.started_at desc, a.alert_id desc), '[]'
      )
      from (
        select past.*
        from observability.alerts as past
        where past.state = 'resolved' and past.started_at < get_alerts.to_time
          and past.resolved_at >= get_alerts.from_time and observability_internal.scope_meets(past.scope, filters)
        order by past.started_at desc, past.alert_id desc
        limit v_limit
      ) as a
    ),
    'outbox', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'notification_id', n.notification_id, 'alert_id', n.alert_id, 'channel_name', n.channel_name,
            'event', n.event, 'state', n.state, 'attempts', n.attempts, 'last_error', n.last_error,
            'created_at', n.created_at, 'sent_at', n.sent_at,
            'next_attempt_at', case when n.state = 'pending' then n.next_attempt_at end
          )
          order by n.created_at desc, n.notification_id desc
        ), '[]'
      )
      from (
        select sent.*
        from observability_internal.notifications as sent
        inner join observability.alerts as a on sent.alert_id = a.alert_id
        where (
          sent.state = 'pending' or sent.created_at >= get_alerts.from_time and sent.created_at < get_alerts.to_time
        ) and observability_internal.scope_meets(a.scope, filters)
        order by sent.created_at desc, sent.notification_id desc
        limit v_limit
      ) as n
    ),
    'rules', (
      select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.name), '[]')
      from observability.alert_rules as r
      where observability_internal.scope_meets(r.scope, filters)
    )
  );
end;
$$;

comment on function observability.get_alerts(timestamptz, timestamptz, jsonb) is 'The Alerts page: {access, firing, history, outbox, rules}; filters by scope and limit (100). Members get empty lists.';

create function observability.get_settings() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
as $$
#variable_conflict use_column
declare
  v_access constant text := observability_internal.require_access('{member,analyst,ops,service}');
begin
  -- Row level security leaves a member nothing of these lists, an analyst the rules.
  return jsonb_build_object(
    'access', v_access,
    'members', (
      select coalesce(jsonb_agg(to_jsonb(m) order by m.added_at, m.user_id), '[]')
      from observability.members as m
      where v_access in ('ops', 'service')
    ),
    'rules', (
      select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.name), '[]')
      from observability.alert_rules as r
    ),
    'channels', (
      select coalesce(jsonb_agg(observability_internal.describe_channel(c) order by c.name), '[]')
      from observability.notification_channels as c
    )
  );
end;
$$;

comment on function observability.get_settings() is 'The Settings page: {access, members, rules, channels}; analysts see the rules, ops all, members only their access.';

grant execute on function observability_internal.scope_meets(jsonb, jsonb) to authenticated, service_role;

grant execute on function observability.get_alerts(timestamptz, timestamptz, jsonb) to authenticated, service_role;

grant execute on function observability.get_settings() to authenticated, service_role;
