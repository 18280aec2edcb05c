-- The list of the Alerts page: searched, ordered, grouped by rule and cut into pages here; and what is done to many at once.
-- Locks: none; it only creates.

create type observability_internal.listed_alert as (
  alert_id bigint,
  matter text,
  standing text,
  rule_id bigint,
  rule_name text,
  group_key text,
  metric text,
  severity text,
  started_at timestamptz,
  excess numeric,
  words text
);

comment on type observability_internal.listed_alert is
'An alert as the list needs it. matter: one line of the list, the alerts of a firing budget together. excess: how many times '
'the rule''s threshold (or the budget) the value is, the other way round for a lower limit. words: what a search looks at, in lower case.';

create function observability_internal.listed_alerts(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.listed_alert
language sql
stable
security invoker
set search_path = ''
as $$
  select
    a.alert_id,
    case when a.state = 'firing' and r.budget_id is not null then 'budget ' || r.budget_id else 'alert ' || a.alert_id end,
    case
      when a.state = 'resolved' then 'resolved'
      when a.acknowledged_at is not null then 'acknowledged'
      when exists (
        select from observability_internal.alert_silences as q
        where q.rule_id = a.rule_id and (q.group_key is null or q.group_key = a.group_key) and q.ends_at > now()
      ) then 'silenced'
      else 'unacknowledged'
    end,
    a.rule_id, a.rule_name, a.group_key, a.metric, a.severity, a.started_at,
    case
      when r.steps is not null then coalesce(a.latest_value, a.value)
      when a.comparator = 'below' then coalesce(r.threshold, a.threshold) / nullif(coalesce(a.latest_value, a.value), 0)
      else coalesce(a.latest_value, a.value) / nullif(coalesce(r.threshold, a.threshold), 0)
    end,
    lower(concat_ws(
      ' ', a.rule_name, a.group_key, a.metric, a.acknowledged_by, a.acknowledge_note, a.evidence ->> 'budget', r.description
    ))
  from observability_internal.alerts as a
  left join observability_internal.alert_rules as r on a.rule_id = r.rule_id
  where a.state = 'firing'
    or a.state = 'resolved' and a.started_at < listed_alerts.to_time and a.resolved_at >= listed_alerts.from_time;
$$;

comment on function observability_internal.listed_alerts is 'Everything that fires, and what was resolved in the range.';
revoke execute on function observability_internal.listed_alerts from public;
grant execute on function observability_internal.listed_alerts to authenticated, service_role;

create function observability_internal.check_alert_filters(filters jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_unknown text;
begin
  if filters is null or jsonb_typeof(filters) <> 'object' then
    raise exception 'filters must be a JSON object' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(filters) as k (key)
  where k.key <> all ('{state,severity,rule,group,text,sort,by_rule,limit,offset}'::text[])
  limit 1;
  if v_unknown is not null then
    raise exception 'unknown filter %', left(v_unknown, 100) using errcode = '22023';
  end if;
  if coalesce(filters ->> 'state', 'firing') not in ('firing', 'unacknowledged', 'acknowledged', 'silenced', 'resolved') then
    raise exception 'state is firing, unacknowledged, acknowledged, silenced or resolved' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'sort', 'urgent') not in ('urgent', 'newest', 'oldest', 'excess', 'rule') then
    raise exception 'sort is urgent, newest, oldest, excess or rule' using errcode = '22023';
  end if;
  if char_length(filters ->> 'text') > 200 then
    raise exception 'text has at most 200 characters' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'limit', '25') !~ '^[0-9]{1,3}$' or coalesce(filters ->> 'limit', '25')::integer not between 1 and 200 then
    raise exception 'limit is from 1 to 200' using errcode = '22023';
  end if;
  if coalesce(filters ->> 'offset', '0') !~ '^[0-9]{1,6}$' then
    raise exception 'offset is from 0 to 999999' using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_alert_filters is 'Refuses (22023) an unknown filter, state or sort, and a page that is too large.';
revoke execute on function observability_internal.check_alert_filters from public;
grant execute on function observability_internal.check_alert_filters to authenticated, service_role;

create function observability_internal.page_of_alerts(found observability_internal.listed_alert[], filters jsonb) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with page as (
    select matter, row_number() over () as place
    from (
      select f.matter
      from unnest(found) as f
      group by f.matter
      order by
        case when coalesce(filters ->> 'sort', 'urgent') = 'urgent' then min(case f.standing
          when 'unacknowledged' then 0 when 'acknowledged' then 1 else 2 end) end,
        case when coalesce(filters ->> 'sort', 'urgent') = 'urgent' then min(f.severity) end,
        case when filters ->> 'sort' = 'rule' then lower(min(f.rule_name)) end,
        case when filters ->> 'sort' = 'excess' then max(f.excess) end desc nulls last,
        case when filters ->> 'sort' = 'oldest' then min(f.started_at) end,
        max(f.started_at) desc, max(f.alert_id) desc
      limit coalesce(filters ->> 'limit', '25')::integer
      offset coalesce(filters ->> 'offset', '0')::integer
    ) as ordered
  )
  select coalesce(
    jsonb_agg(
      observability_internal.describe_alert(a) || jsonb_build_object(
        'matter', f.matter, 'standing', f.standing, 'current_value', trim_scale(s.value)::text,
        'runbook_url', r.runbook_url, 'description', r.description,
        'silenced_until', (
          select max(q.ends_at) from observability_internal.alert_silences as q
          where a.state = 'firing' and q.rule_id = a.rule_id and (q.group_key is null or q.group_key = a.group_key)
            and q.ends_at > now()
        )
      )
      order by p.place, a.severity, a.started_at, a.alert_id
    ), '[]'
  )
  from page as p
  inner join unnest(found) as f on p.matter = f.matter
  inner join observability_internal.alerts as a on f.alert_id = a.alert_id
  left join observability_internal.alert_rules as r on a.rule_id = r.rule_id
  left join observability_internal.alert_states as s
    on a.state = 'firing' and a.rule_id = s.rule_id and a.group_key = s.group_key;
$$;

comment on function observability_internal.page_of_alerts is
'One page of the alerts that were found, in order; those of one matter follow each other.';
revoke execute on function observability_internal.page_of_alerts from public;
grant execute on function observability_internal.page_of_alerts to authenticated, service_role;

create function observability_internal.alerts_by_rule(found observability_internal.listed_alert[], filters jsonb) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with by_rule as (
    select
      f.rule_id, f.rule_name, count(*) as alerts, min(f.started_at) as started_at, max(f.started_at) as newest_at,
      min(f.severity) as severity, max(f.excess) as excess,
      count(*) filter (where f.standing = 'unacknowledged') as unacknowledged,
      count(*) filter (where f.standing = 'acknowledged') as acknowledged,
      count(*) filter (where f.standing = 'silenced') as silenced,
      count(*) filter (where f.severity = 'critical') as critical,
      (array_agg(f.alert_id order by f.excess desc nulls last, f.alert_id))[1] as worst_id,
      (array_agg(f.alert_id order by f.alert_id) filter (where f.standing <> 'resolved'))[1:1000] as firing_ids
    from unnest(found) as f
    group by f.rule_id, f.rule_name
  ),
  page as (
    select b.*, row_number() over (
      order by
        case when coalesce(filters ->> 'sort', 'urgent') = 'urgent' then (b.unacknowledged = 0)::integer end,
        case when coalesce(filters ->> 'sort', 'urgent') = 'urgent' then b.severity end,
        case when coalesce(filters ->> 'sort', 'urgent') = 'urgent' then b.unacknowledged end desc,
        case when filters ->> 'sort' = 'excess' then b.excess end desc nulls last,
        case when filters ->> 'sort' = 'oldest' then b.started_at end,
        case when filters ->> 'sort' = 'newest' then b.newest_at end desc,
        lower(b.rule_name), b.rule_id
    ) as place
    from by_rule as b
  )
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'rule_id', p.rule_id, 'rule_name', p.rule_name, 'alerts', p.alerts, 'unacknowledged', p.unacknowledged,
        'acknowledged', p.acknowledged, 'silenced', p.silenced, 'critical', p.critical, 'severity', p.severity,
        'started_at', p.started_at, 'newest_at', p.newest_at, 'firing_ids', coalesce(to_jsonb(p.firing_ids), '[]'),
        'worst', observability_internal.describe_alert(a), 'runbook_url', r.runbook_url, 'description', r.description
      )
      order by p.place
    ), '[]'
  )
  from page as p
  inner join observability_internal.alerts as a on p.worst_id = a.alert_id
  left join observability_internal.alert_rules as r on p.rule_id = r.rule_id
  where p.place > coalesce(filters ->> 'offset', '0')::integer
    and p.place <= coalesce(filters ->> 'offset', '0')::integer + coalesce(filters ->> 'limit', '25')::integer;
$$;

comment on function observability_internal.alerts_by_rule is
'One page of the rules of the alerts that were found: how many, how they stand, the worst one, the numbers of up to 1,000 that fire.';
revoke execute on function observability_internal.alerts_by_rule from public;
grant execute on function observability_internal.alerts_by_rule to authenticated, service_role;

create function observability_internal.running_silences() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(q) || jsonb_build_object('rule_name', r.name) order by q.ends_at, q.silence_id), '[]')
  from observability_internal.alert_silences as q
  inner join observability_internal.alert_rules as r on q.rule_id = r.rule_id
  where q.ends_at > now();
$$;

comment on function observability_internal.running_silences is 'The silences that hold now, the one that ends first at the head.';
revoke execute on function observability_internal.running_silences from public;
grant execute on function observability_internal.running_silences to authenticated, service_role;

create function observability_internal.recent_transitions(
  from_time timestamptz, to_time timestamptz, row_limit integer
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object(
    'value', trim_scale(t.value)::text, 'threshold', t.threshold::text
  ) order by t.transition_id desc), '[]')
  from (
    select recent.*, a.metric
    from observability_internal.alert_transitions as recent
    left join observability_internal.alerts as a on recent.alert_id = a.alert_id
    where recent.occurred_at >= recent_transitions.from_time and recent.occurred_at < recent_transitions.to_time
    order by recent.transition_id desc
    limit row_limit
  ) as t;
$$;

comment on function observability_internal.recent_transitions is 'The newest changes of state of a range, newest first.';
revoke execute on function observability_internal.recent_transitions from public;
grant execute on function observability_internal.recent_transitions to authenticated, service_role;

create function observability_internal.alert_list(from_time timestamptz, to_time timestamptz, filters jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_rules constant text[] := observability_internal.filter_values(filters, 'rule');
  v_groups constant text[] := observability_internal.filter_values(filters, 'group');
  v_severities constant text[] := observability_internal.filter_values(filters, 'severity');
  v_text constant text := lower(nullif(trim(filters ->> 'text'), ''));
  v_state constant text := coalesce(filters ->> 'state', 'firing');
  v_by_rule constant boolean := coalesce((filters ->> 'by_rule')::boolean, false);
  v_all observability_internal.listed_alert[];
  v_found observability_internal.listed_alert[];
  v_chosen observability_internal.listed_alert[];
begin
  v_all := array(select l from observability_internal.listed_alerts(alert_list.from_time, alert_list.to_time) as l);
  v_found := array(
    select l from unnest(v_all) as l
    where (v_rules is null or l.rule_name = any (v_rules)) and (v_groups is null or l.group_key = any (v_groups))
      and (v_severities is null or l.severity = any (v_severities))
      and (v_text is null or strpos(l.words, v_text) > 0)
  );
  v_chosen := array(
    select l from unnest(v_found) as l
    where l.standing = v_state or v_state = 'firing' and l.standing <> 'resolved'
  );
  return (
    select jsonb_build_object(
      'counts', jsonb_build_object(
        'firing', count(distinct l.matter) filter (where l.standing <> 'resolved'),
        'unacknowledged', count(distinct l.matter) filter (where l.standing = 'unacknowledged'),
        'acknowledged', count(distinct l.matter) filter (where l.standing = 'acknowledged'),
        'silenced', count(distinct l.matter) filter (where l.standing = 'silenced'),
        'resolved', count(distinct l.matter) filter (where l.standing = 'resolved')
      )
    )
    from unnest(v_found) as l
  ) || (
    select jsonb_build_object(
      'total', case when v_by_rule then count(distinct (l.rule_id, l.rule_name)) else count(distinct l.matter) end,
      'firing_ids', coalesce(to_jsonb((array_agg(l.alert_id order by l.alert_id) filter (where l.standing <> 'resolved'))[1:1000]), '[]')
    )
    from unnest(v_chosen) as l
  ) || jsonb_build_object(
    'firing_now', (select count(distinct l.matter) from unnest(v_all) as l where l.standing <> 'resolved'),
    'rule_names', (select coalesce(jsonb_agg(distinct l.rule_name), '[]') from unnest(v_all) as l),
    'group_keys', (
      select coalesce(jsonb_agg(g.group_key order by g.group_key), '[]')
      from (
        select l.group_key from unnest(v_all) as l where l.group_key <> '' group by l.group_key order by count(*) desc, l.group_key limit 200
      ) as g
    ),
    'alerts', case when v_by_rule then '[]' else observability_internal.page_of_alerts(v_chosen, filters) end,
    'by_rule', case when v_by_rule then observability_internal.alerts_by_rule(v_chosen, filters) else '[]' end
  );
end;
$$;

comment on function observability_internal.alert_list is
'What the filters leave: counts by state, total, one page of alerts or of rules, and the numbers of up to 1,000 that fire.';
revoke execute on function observability_internal.alert_list from public;
grant execute on function observability_internal.alert_list to authenticated, service_role;

create function observability.find_alerts(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
begin
  perform observability_internal.check_filters(find_alerts.from_time, find_alerts.to_time, '{}');
  perform observability_internal.check_alert_filters(find_alerts.filters);
  return jsonb_build_object(
    'access', v_access, 'generated_at', now(),
    'times', observability_internal.alert_times(find_alerts.from_time, find_alerts.to_time, '{}'),
    'transitions', observability_internal.recent_transitions(find_alerts.from_time, find_alerts.to_time, 100),
    'silences', observability_internal.running_silences(),
    'outbox', observability_internal.outbox_entries(find_alerts.from_time, find_alerts.to_time, '{}', 100),
    'active_rules', (select count(*) from observability_internal.alert_rules as r where r.is_enabled),
    'failing', (
      select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.name), '[]')
      from observability_internal.alert_rules as r
      inner join observability_internal.alert_states as s on r.rule_id = s.rule_id and s.group_key = ''
      where s.last_error is not null or s.groups_over_limit > 0
    )
  ) || observability_internal.alert_list(find_alerts.from_time, find_alerts.to_time, find_alerts.filters);
end;
$$;

comment on function observability.find_alerts is
'One page of the list of alerts: {access, counts, total, alerts or by_rule, firing_ids, firing_now, rule_names, group_keys, times, '
'transitions, silences, outbox, active_rules, failing}. Filters: state (firing), severity, rule, group, text, sort (urgent, newest, '
'oldest, excess, rule), by_rule, limit (25), offset. Members get empty lists.';
revoke execute on function observability.find_alerts from public;
grant execute on function observability.find_alerts to authenticated, service_role;

create function observability_internal.read_alert_ids(alert_ids jsonb) returns bigint[]
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  if alert_ids is null or jsonb_typeof(alert_ids) <> 'array' or jsonb_array_length(alert_ids) not between 1 and 1000
    or exists (select from jsonb_array_elements_text(alert_ids) as e (number) where e.number !~ '^[0-9]{1,18}$')
  then
    raise exception 'alert_ids is a list of 1 to 1000 numbers' using errcode = '22023';
  end if;
  return array(select e.number::bigint from jsonb_array_elements_text(alert_ids) as e (number));
end;
$$;

comment on function observability_internal.read_alert_ids is 'The numbers of a JSON list; refuses (22023) none, more than 1,000, and what is no number.';
revoke execute on function observability_internal.read_alert_ids from public;
grant execute on function observability_internal.read_alert_ids to service_role;

-- Security definer: as acknowledge_alert.
create function observability.acknowledge_selected_alerts(alert_ids jsonb, note text default null) returns integer
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_ids bigint[];
begin
  perform observability_internal.require_access('{ops,service}');
  v_ids := observability_internal.read_alert_ids(acknowledge_selected_alerts.alert_ids);
  -- In one order, so that two people who acknowledge at once do not wait for each other in a circle.
  perform 1
  from observability_internal.alerts as a
  where a.alert_id = any (v_ids) and a.state = 'firing' and a.acknowledged_at is null
  order by a.alert_id
  for update;
  v_ids := array(
    select a.alert_id from observability_internal.alerts as a
    where a.alert_id = any (v_ids) and a.state = 'firing' and a.acknowledged_at is null
    order by a.alert_id
  );
  perform observability_internal.acknowledge(
    n.alert_id, acknowledge_selected_alerts.note, coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  )
  from unnest(v_ids) as n (alert_id);
  return cardinality(v_ids);
end;
$$;

comment on function observability.acknowledge_selected_alerts is
'Acknowledges those of up to 1,000 alerts that still fire and that nobody has acknowledged; returns how many. Ops only.';
revoke execute on function observability.acknowledge_selected_alerts from public;
grant execute on function observability.acknowledge_selected_alerts to authenticated, service_role;

-- Security definer: as silence_alerts.
create function observability.silence_selected_alerts(
  alert_ids jsonb, ends_at timestamptz, whole_rules boolean default false, note text default null
) returns integer
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_ids bigint[];
  v_count integer;
begin
  perform observability_internal.require_access('{ops,service}');
  v_ids := observability_internal.read_alert_ids(silence_selected_alerts.alert_ids);
  if silence_selected_alerts.ends_at is null or silence_selected_alerts.ends_at <= clock_timestamp() then
    raise exception 'a silence ends in the future' using errcode = '22023';
  end if;
  insert into observability_internal.alert_silences (rule_id, group_key, ends_at, note, created_by)
  select distinct
    a.rule_id, case when not silence_selected_alerts.whole_rules then nullif(a.group_key, '') end,
    silence_selected_alerts.ends_at, nullif(trim(silence_selected_alerts.note), ''),
    coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  from observability_internal.alerts as a
  where a.alert_id = any (v_ids) and a.rule_id is not null;
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability.silence_selected_alerts is
'Keeps the groups of up to 1,000 alerts, or their whole rules, from sending until a moment; returns how many silences. Ops only.';
revoke execute on function observability.silence_selected_alerts from public;
grant execute on function observability.silence_selected_alerts to authenticated, service_role;
