-- How ops edit rules.
-- Locks: none; it only creates.

create function observability_internal.check_keys(document jsonb, allowed text[], what text) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_unknown text;
begin
  if document is null or jsonb_typeof(document) <> 'object' then
    raise exception 'a % is a JSON object', what using errcode = '22023';
  end if;
  select k.key into v_unknown from jsonb_object_keys(document) as k (key) where k.key <> all (allowed) limit 1;
  if v_unknown is not null then
    raise exception 'unknown key % of a %', left(v_unknown, 100), what using errcode = '22023';
  end if;
end;
$$;

comment on function observability_internal.check_keys is 'Refuses (22023) what is not an object, and a key that is not in the list.';
revoke execute on function observability_internal.check_keys from public;
grant execute on function observability_internal.check_keys to authenticated, service_role;

create function observability_internal.describe_rule(rule observability_internal.alert_rules) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'rule_id', rule.rule_id, 'name', rule.name, 'metric', rule.metric, 'window_s', rule.window_s,
    'period', rule.period, 'timezone', rule.timezone, 'comparator', rule.comparator,
    'threshold', rule.threshold::text, 'critical_threshold', rule.critical_threshold::text,
    'resolve_threshold', rule.resolve_threshold::text, 'steps', rule.steps::text[], 'for_s', rule.for_s,
    'minimum_sample', rule.minimum_sample, 'minimum_change', rule.minimum_change::text, 'scope', rule.scope, 'group_by', rule.group_by,
    'group_limit', rule.group_limit, 'no_data', rule.no_data, 'renotify_s', rule.renotify_s
  )
  || jsonb_build_object(
    'severity', rule.severity, 'is_enabled', rule.is_enabled, 'budget_id', rule.budget_id,
    'is_managed', rule.is_managed,
    'channels', (
      select coalesce(jsonb_agg(rc.channel_id order by rc.channel_id), '[]')
      from observability_internal.alert_rule_channels as rc
      where rc.rule_id = rule.rule_id
    ),
    'created_at', rule.created_at, 'created_by', rule.created_by, 'updated_at', rule.updated_at,
    'updated_by', rule.updated_by, 'description', rule.description, 'runbook_url', rule.runbook_url,
    'labels', rule.labels, 'keep_firing_s', rule.keep_firing_s, 'cooldown_s', rule.cooldown_s, 'conditions', rule.conditions,
    'objective', rule.objective::text, 'objective_ms', rule.objective_ms::text,
    'state', coalesce((
      select g.state from observability_internal.alert_states as g
      where g.rule_id = rule.rule_id
      order by array_position('{firing,pending,resolved,ok}', g.state)
      limit 1
    ), 'ok'),
    'firing_groups', (
      select count(*) from observability_internal.alert_states as g where g.rule_id = rule.rule_id and g.state = 'firing'
    ),
    'groups_over_limit', coalesce(s.groups_over_limit, 0), 'pending_since', s.pending_since,
    'value', trim_scale(s.value)::text, 'sample_count', s.sample_count, 'evaluated_at', s.evaluated_at,
    'last_error', s.last_error, 'last_error_at', s.last_error_at, 'no_data_since', s.no_data_since,
    'silenced_until', (
      select max(q.ends_at) from observability_internal.alert_silences as q
      where q.rule_id = rule.rule_id and q.group_key is null and q.ends_at > now()
    )
  )
  from (select) as one
  left join observability_internal.alert_states as s on s.rule_id = rule.rule_id and s.group_key = '';
$$;

comment on function observability_internal.describe_rule is 'A rule with its channels and where it stands; decimals as text.';
revoke execute on function observability_internal.describe_rule from public;
grant execute on function observability_internal.describe_rule to authenticated, service_role;

create function observability_internal.normalize_scope(scope jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select case
    when scope is null or jsonb_typeof(scope) = 'null' then '{}'::jsonb
    when jsonb_typeof(scope) <> 'object' then scope
    else (
      select
        coalesce(
          jsonb_object_agg(
            e.key, case jsonb_typeof(e.value) when 'string' then jsonb_build_array(e.value) else e.value end
          ), '{}'
        )
      from jsonb_each(scope) as e
      where jsonb_typeof(e.value) <> 'null' and e.value <> '[]'
    )
  end;
$$;

comment on function observability_internal.normalize_scope is 'A scope with every name in a list and without empty dimensions.';
revoke execute on function observability_internal.normalize_scope from public;
grant execute on function observability_internal.normalize_scope to authenticated, service_role;

-- One failure among few calls is no rate, and the slowest of few no percentile. As ingest/alerts/metrics.py: a test compares them.
create function observability_internal.default_sample(metric text) returns integer
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when metric like '%\_burn\_rate' then 20
    else case observability_internal.metric_kinds() ->> replace(metric, '_vs_last_week', '') when 'share' then 20 when 'quantile' then 50 else 1 end
  end;
$$;

comment on function observability_internal.default_sample is 'The minimum sample of a rule that does not name one.';
revoke execute on function observability_internal.default_sample from public;
grant execute on function observability_internal.default_sample to authenticated, service_role;

create function observability_internal.normalize_conditions(conditions jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  -- Thresholds as text: decimals stay exact on their way to Python.
  select case
    when jsonb_typeof(conditions) is distinct from 'array' then conditions
    else coalesce(
      (
        select jsonb_agg(
          case
            when jsonb_typeof(e.condition) = 'object' and e.condition ? 'threshold'
              then e.condition || jsonb_build_object('threshold', trim_scale((e.condition ->> 'threshold')::numeric)::text)
            else e.condition
          end
          order by e.place
        )
        from jsonb_array_elements(conditions) with ordinality as e (condition, place)
      ), '[]'
    )
  end;
$$;

comment on function observability_internal.normalize_conditions is 'Conditions with their thresholds as text.';
revoke execute on function observability_internal.normalize_conditions from public;
grant execute on function observability_internal.normalize_conditions to authenticated, service_role;

create function observability_internal.read_rule(document jsonb, base observability_internal.alert_rules)
returns observability_internal.alert_rules
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_rule observability_internal.alert_rules;
begin
  perform observability_internal.check_keys(
    document,
    array[
      'rule_id', 'name', 'metric', 'window_s', 'period', 'timezone', 'comparator', 'threshold', 'critical_threshold',
      'resolve_threshold', 'for_s', 'minimum_sample', 'minimum_change', 'scope', 'group_by', 'group_limit', 'no_data', 'renotify_s',
      'severity', 'is_enabled', 'channels', 'budget_id', 'description', 'runbook_url', 'labels', 'keep_firing_s', 'cooldown_s',
      'conditions', 'objective', 'objective_ms'
    ],
    'rule'
  );
  v_rule := jsonb_populate_record(
    base,
    case when base.rule_id is null then jsonb_build_object(
      'for_s', 0, 'minimum_sample', observability_internal.default_sample(document ->> 'metric'), 'severity', 'warning',
      'is_enabled', true, 'timezone', 'UTC', 'comparator', 'above', 'group_limit', 50, 'no_data', 'keep', 'is_managed', false,
      'labels', '{}'::jsonb, 'keep_firing_s', 0, 'cooldown_s', 0, 'conditions', '[]'::jsonb,
      'window_s', case document ->> 'period' when 'day' then 86400 when 'week' then 604800 when 'month' then 2678400 end
    ) else '{}' end || document
  );
  v_rule.scope := observability_internal.normalize_scope(v_rule.scope);
  v_rule.conditions := observability_internal.normalize_conditions(v_rule.conditions);
  return v_rule;
end;
$$;

comment on function observability_internal.read_rule is 'The rule that a document describes, over another one or over the defaults; refuses unknown keys.';
revoke execute on function observability_internal.read_rule from public;
grant execute on function observability_internal.read_rule to authenticated, service_role;

create function observability_internal.set_rule_channels(rule_id bigint, channels jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  if jsonb_typeof(channels) is distinct from 'array' then
    raise exception 'channels is a list of channel ids' using errcode = '22023';
  end if;
  delete from observability_internal.alert_rule_channels as rc
  where rc.rule_id = set_rule_channels.rule_id and not channels @> to_jsonb(rc.channel_id);
  insert into observability_internal.alert_rule_channels (rule_id, channel_id)
  select set_rule_channels.rule_id, element.id::bigint from jsonb_array_elements_text(channels) as element (id)
  on conflict do nothing;
end;
$$;

comment on function observability_internal.set_rule_channels is 'Makes these the channels of a rule.';
revoke execute on function observability_internal.set_rule_channels from public;
grant execute on function observability_internal.set_rule_channels to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_alert_rule(rule jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability_internal.alert_rules;
begin
  perform observability_internal.require_access('{ops,service}');
  if rule ->> 'rule_id' is null then
    v_row := observability_internal.read_rule(rule, null);
    insert into observability_internal.alert_rules as r (
      name, metric, window_s, period, timezone, comparator, threshold, critical_threshold, resolve_threshold, for_s,
      minimum_sample, minimum_change, scope, group_by, group_limit, no_data, renotify_s, severity, is_enabled, budget_id, description,
      runbook_url, labels, keep_firing_s, cooldown_s, conditions, objective, objective_ms
    )
    values (
      v_row.name, v_row.metric, v_row.window_s, v_row.period, v_row.timezone, v_row.comparator, v_row.threshold,
      v_row.critical_threshold, v_row.resolve_threshold, v_row.for_s, v_row.minimum_sample, v_row.minimum_change, v_row.scope,
      v_row.group_by, v_row.group_limit, v_row.no_data, v_row.renotify_s, v_row.severity, v_row.is_enabled,
      v_row.budget_id, v_row.description, v_row.runbook_url, v_row.labels, v_row.keep_firing_s, v_row.cooldown_s,
      v_row.conditions, v_row.objective, v_row.objective_ms
    )
    returning r.* into v_row;
  else
    select * into v_row from observability_internal.alert_rules as r where r.rule_id = (rule ->> 'rule_id')::bigint for update;
    if not found then
      raise exception 'there is no rule %', left(rule ->> 'rule_id', 20) using errcode = '22023';
    end if;
    if v_row.is_managed then
      raise exception 'this rule belongs to a budget: change the budget' using errcode = '22023';
    end if;
    v_row := observability_internal.read_rule(rule, v_row);
    update observability_internal.alert_rules as r
    set
      name = v_row.name, metric = v_row.metric, window_s = v_row.window_s, period = v_row.period,
      timezone = v_row.timezone, comparator = v_row.comparator, threshold = v_row.threshold,
      critical_threshold = v_row.critical_threshold, resolve_threshold = v_row.resolve_threshold, for_s = v_row.for_s,
      minimum_sample = v_row.minimum_sample, minimum_change = v_row.minimum_change, scope = v_row.scope, group_by = v_row.group_by,
      group_limit = v_row.group_limit, no_data = v_row.no_data, renotify_s = v_row.renotify_s,
      severity = v_row.severity, is_enabled = v_row.is_enabled, budget_id = v_row.budget_id,
      description = v_row.description, runbook_url = v_row.runbook_url, labels = v_row.labels,
      keep_firing_s = v_row.keep_firing_s, cooldown_s = v_row.cooldown_s, conditions = v_row.conditions,
      objective = v_row.objective, objective_ms = v_row.objective_ms
    where r.rule_id = v_row.rule_id
    returning r.* into v_row;
  end if;
  if rule ? 'channels' then
    perform observability_internal.set_rule_channels(v_row.rule_id, rule -> 'channels');
  end if;
  return observability_internal.describe_rule(v_row);
end;
$$;

comment on function observability.save_alert_rule is 'Adds a rule, or changes the given keys of the one with this rule_id. Ops only. Returns the rule.';
revoke execute on function observability.save_alert_rule from public;
grant execute on function observability.save_alert_rule to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.delete_alert_rule(rule_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability_internal.alert_rules as r where r.rule_id = delete_alert_rule.rule_id;
  return found;
end;
$$;

comment on function observability.delete_alert_rule is 'Deletes a rule and ends what it has firing; its alerts stay. Ops only. True when there was one.';
revoke execute on function observability.delete_alert_rule from public;
grant execute on function observability.delete_alert_rule to authenticated, service_role;

create function observability.get_computed_rules() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.rule_id), '[]')
  from observability_internal.alert_rules as r
  where r.is_enabled and (r.metric like 'anomaly%' or r.metric = 'budget_forecast');
$$;

comment on function observability.get_computed_rules is 'The rules whose values the worker computes and writes by record_metric_values.';
revoke execute on function observability.get_computed_rules from public;
grant execute on function observability.get_computed_rules to service_role;
