-- What alerts owe is told here: one message per channel for all groups of a rule that owe the same.
-- Locks: none; it only creates. At run time ROW EXCLUSIVE on alerts and on the outbox.

create function observability_internal.describe_bundle(bundle uuid, alert_ids bigint[], event text) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with told as (
    select
      a.alert_id, a.group_key, a.severity, a.threshold,
      case describe_bundle.event
        when 'resolved' then a.resolved_value when 'firing' then a.value else coalesce(a.latest_value, a.value)
      end as value,
      row_number() over (order by p.place) as place
    from unnest(alert_ids) with ordinality as p (alert_id, place)
    inner join observability_internal.alerts as a using (alert_id)
  )
  select jsonb_build_object(
    'key', describe_bundle.bundle, 'count', cardinality(alert_ids),
    'firing', (
      select count(*) from observability_internal.alerts as a where a.bundle = describe_bundle.bundle and a.state = 'firing'
    ),
    'alerts', (
      select jsonb_agg(
        jsonb_build_object(
          'alert_id', t.alert_id, 'group_key', t.group_key, 'severity', t.severity, 'threshold', t.threshold::text,
          'value', trim_scale(t.value)::text
        )
        order by t.place
      )
      from told as t
      where t.place <= 10
    ),
    'more', (
      select jsonb_build_object(
        'count', count(*), 'smallest', trim_scale(min(t.value))::text, 'largest', trim_scale(max(t.value))::text
      )
      from told as t
      where t.place > 10
      having count(*) > 0
    )
  );
$$;

comment on function observability_internal.describe_bundle is
'What a message is about: {key, count, firing, alerts, more}; the first ten alerts by themselves, the others by their number and range.';
revoke execute on function observability_internal.describe_bundle from public;
grant execute on function observability_internal.describe_bundle to service_role;

create function observability_internal.enqueue_bundle(
  bundle uuid, event text, alert_ids bigint[], channel_ids bigint[], as_of timestamptz, added jsonb default '{}'
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_lead observability_internal.alerts;
  v_sequence integer;
begin
  update observability_internal.alerts as a
  set message_count = a.message_count + 1
  where a.alert_id = any (enqueue_bundle.alert_ids);
  select * into strict v_lead from observability_internal.alerts as a where a.alert_id = enqueue_bundle.alert_ids[1];
  v_sequence := v_lead.message_count;
  insert into observability_internal.notifications
  (alert_id, channel_id, channel_name, event, sequence, bundle, priority, payload, next_attempt_at, created_at)
  select
    v_lead.alert_id, c.channel_id, c.name, enqueue_bundle.event, v_sequence, enqueue_bundle.bundle,
    case v_lead.severity when 'critical' then 0 else 1 end, p.payload, enqueue_bundle.as_of, enqueue_bundle.as_of
  from observability_internal.notification_channels as c
  cross join (
    select jsonb_build_object(
      'schema', 'treering.alert/1', 'event', enqueue_bundle.event, 'occurred_at', enqueue_bundle.as_of,
      'alert', observability_internal.describe_alert(v_lead),
      'bundle', observability_internal.describe_bundle(enqueue_bundle.bundle, enqueue_bundle.alert_ids, enqueue_bundle.event),
      'rule', (
        select jsonb_build_object('description', r.description, 'runbook_url', r.runbook_url, 'labels', r.labels)
        from observability_internal.alert_rules as r
        where r.rule_id = v_lead.rule_id
      )
    ) || enqueue_bundle.added as payload
  ) as p
  where c.is_enabled and c.channel_id = any (enqueue_bundle.channel_ids);
end;
$$;

comment on function observability_internal.enqueue_bundle is
'Writes one message about these alerts, the worst first, to each of the channels that are enabled.';
revoke execute on function observability_internal.enqueue_bundle from public;
grant execute on function observability_internal.enqueue_bundle to service_role;

create function observability_internal.hearing_channels(bundle uuid) returns bigint[]
language sql
stable
security invoker
set search_path = ''
as $$
  -- A message that still waits is told before the end is; whether it got through is known only then.
  select coalesce(array_agg(distinct n.channel_id), '{}')
  from observability_internal.notifications as n
  where n.bundle = hearing_channels.bundle and n.event in ('firing', 'escalated', 'reminder')
    and n.state in ('sent', 'pending', 'folded') and n.channel_id is not null;
$$;

comment on function observability_internal.hearing_channels is 'The channels that have heard of a bundle, or will.';
revoke execute on function observability_internal.hearing_channels from public;
grant execute on function observability_internal.hearing_channels to service_role;

create function observability_internal.tell_ends(rule_id bigint, as_of timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_ended record;
begin
  for v_ended in
    select
      a.bundle, array_agg(a.alert_id order by a.severity, a.alert_id) as alert_ids,
      bool_and(a.is_late or a.resolution = 'period_ended' and a.metric in ('budget_used', 'budget_forecast')) as is_no_news
    from observability_internal.alerts as a
    where a.rule_id = tell_ends.rule_id and a.state = 'resolved' and not a.is_end_told and a.bundle is not null
    group by a.bundle
  loop
    -- That a budget's period ends is no news, nor is the end of what was over when it was told; but an incident that a
    -- paging service keeps open must be closed.
    perform observability_internal.enqueue_bundle(
      v_ended.bundle, 'resolved', v_ended.alert_ids,
      array(
        select c.channel_id
        from observability_internal.notification_channels as c
        where c.channel_id = any (observability_internal.hearing_channels(v_ended.bundle))
          and (not v_ended.is_no_news or observability_internal.is_paging(c))
      ),
      as_of
    );
  end loop;
  update observability_internal.alerts as a
  set is_end_told = true
  where a.rule_id = tell_ends.rule_id and a.state = 'resolved' and not a.is_end_told;
end;
$$;

comment on function observability_internal.tell_ends is 'Tells the ends of a rule''s alerts to the channels that heard of them.';
revoke execute on function observability_internal.tell_ends from public;
grant execute on function observability_internal.tell_ends to service_role;

create function observability_internal.owed_messages(rule observability_internal.alert_rules, as_of timestamptz)
returns table (alert_id bigint, bundle uuid, event text, place bigint)
language sql
stable
security invoker
set search_path = ''
as $$
  select o.alert_id, o.bundle, o.event, o.place
  from (
    select
      a.alert_id, a.bundle, a.group_key,
      case
        when a.notified_level is null then 'firing'
        when a.level > a.notified_level or a.severity = 'critical' and a.notified_severity = 'warning' then 'escalated'
        when a.acknowledged_at is null
          and as_of - a.notified_at >= make_interval(secs => rule.renotify_s) then 'reminder'
      end as event,
      row_number() over (
        order by
          a.severity, a.level desc,
          case when rule.comparator = 'above' then coalesce(a.latest_value, a.value) else -coalesce(a.latest_value, a.value) end desc nulls last,
          a.alert_id
      ) as place
    from observability_internal.alerts as a
    where a.rule_id = rule.rule_id and a.state = 'firing'
  ) as o
  where o.event is not null and not observability_internal.is_silenced(rule.rule_id, o.group_key, as_of);
$$;

comment on function observability_internal.owed_messages is
'What the firing alerts of a rule owe: their beginning, a higher level or severity, a reminder; none while they are silenced.';
revoke execute on function observability_internal.owed_messages from public;
grant execute on function observability_internal.owed_messages to service_role;

create function observability_internal.tell_newcomers(rule observability_internal.alert_rules, as_of timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_new record;
begin
  -- A channel that was added while it fires, and one that a route reaches when nobody has acknowledged in time.
  for v_new in
    select n.bundle, n.channel_id, max(n.after_s) as after_s, array_agg(n.alert_id order by n.severity, n.alert_id) as alert_ids
    from (
      select a.bundle, a.alert_id, a.severity, t.channel_id, t.after_s
      from observability_internal.alert_targets(rule, as_of) as t
      inner join observability_internal.alerts as a using (alert_id)
      where a.notified_level is not null and not observability_internal.is_silenced(rule.rule_id, a.group_key, as_of)
        and not exists (
          select from observability_internal.notifications as h
          where h.bundle = a.bundle and h.channel_id = t.channel_id
        )
    ) as n
    group by n.bundle, n.channel_id
  loop
    perform observability_internal.enqueue_bundle(
      v_new.bundle, 'firing', v_new.alert_ids, array[v_new.channel_id], as_of,
      case when v_new.after_s > 0 then jsonb_build_object('unacknowledged_s', v_new.after_s) else '{}' end
    );
  end loop;
end;
$$;

comment on function observability_internal.tell_newcomers is
'Tells what fires to channels that have not heard of it although it goes to them: added ones, and escalations.';
revoke execute on function observability_internal.tell_newcomers from public;
grant execute on function observability_internal.tell_newcomers to service_role;

create function observability_internal.tell_rule(rule observability_internal.alert_rules, as_of timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_owed record;
  v_told record;
  v_over jsonb;
begin
  -- Most rules have nothing to tell at most times.
  if not exists (
    select from observability_internal.alerts as a where a.rule_id = rule.rule_id and a.state = 'firing'
  ) and not exists (
    select from observability_internal.alerts as a
    where a.rule_id = rule.rule_id and a.state = 'resolved' and not a.is_end_told
  ) then
    return;
  end if;
  perform observability_internal.tell_ends(rule.rule_id, as_of);
  if observability_internal.is_muted(rule, as_of) then
    return;
  end if;
  select jsonb_build_object('over_limit', jsonb_build_object(
    'count', s.groups_over_limit, 'smallest', trim_scale(s.smallest_over_limit)::text,
    'largest', trim_scale(s.largest_over_limit)::text
  ))
  into v_over
  from observability_internal.alert_states as s
  where s.rule_id = rule.rule_id and s.group_key = '' and s.groups_over_limit > 0;
  for v_owed in
    select
      o.event, coalesce(o.bundle, n.bundle) as bundle, array_agg(o.alert_id order by o.place) as alert_ids
    from observability_internal.owed_messages(rule, as_of) as o
    cross join (select gen_random_uuid() as bundle) as n
    group by o.event, coalesce(o.bundle, n.bundle)
    order by min(o.place)
  loop
    update observability_internal.alerts as a
    set
      bundle = v_owed.bundle, notified_at = as_of, first_notified_at = coalesce(a.first_notified_at, as_of),
      notified_level = greatest(a.notified_level, a.level), notified_severity = a.severity
    where a.alert_id = any (v_owed.alert_ids);
    -- Routes may send some groups elsewhere: channels that get the same alerts get the same message.
    for v_told in
      select c.alert_ids, array_agg(c.channel_id) as channel_ids
      from (
        select t.channel_id, array_agg(t.alert_id order by array_position(v_owed.alert_ids, t.alert_id)) as alert_ids
        from observability_internal.alert_targets(rule, as_of) as t
        where t.alert_id = any (v_owed.alert_ids)
          -- A reminder is left out where an earlier message has not got through yet.
          and (v_owed.event <> 'reminder' or not exists (
            select from observability_internal.notifications as n
            where n.bundle = v_owed.bundle and n.channel_id = t.channel_id and n.state = 'pending'
          ))
        group by t.channel_id
      ) as c
      group by c.alert_ids
    loop
      perform observability_internal.enqueue_bundle(
        v_owed.bundle, v_owed.event, v_told.alert_ids, v_told.channel_ids, as_of,
        case v_owed.event when 'firing' then coalesce(v_over, '{}') else '{}' end
      );
    end loop;
  end loop;
  perform observability_internal.tell_newcomers(rule, as_of);
end;
$$;

comment on function observability_internal.tell_rule is
'Writes what the alerts of a rule owe to the outbox: ends, then beginnings, higher levels and reminders, and channels that are new to them.';
revoke execute on function observability_internal.tell_rule from public;
grant execute on function observability_internal.tell_rule to service_role;
