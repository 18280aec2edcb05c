-- How ops edit rules and budgets.
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
    'labels', rule.labels,
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
    'last_error', s.last_error, 'last_error_at', s.last_error_at,
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
      'severity', 'is_enabled', 'channels', 'budget_id', 'description', 'runbook_url', 'labels'
    ],
    'rule'
  );
  v_rule := jsonb_populate_record(
    base,
    case when base.rule_id is null then jsonb_build_object(
      'for_s', 0, 'minimum_sample', 1, 'severity', 'warning', 'is_enabled', true, 'timezone', 'UTC',
      'comparator', 'above', 'group_limit', 50, 'no_data', 'ok', 'is_managed', false, 'labels', '{}'::jsonb,
      'window_s', case document ->> 'period' when 'day' then 86400 when 'week' then 604800 when 'month' then 2678400 end
    ) else '{}' end || document
  );
  v_rule.scope := observability_internal.normalize_scope(v_rule.scope);
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
      runbook_url, labels
    )
    values (
      v_row.name, v_row.metric, v_row.window_s, v_row.period, v_row.timezone, v_row.comparator, v_row.threshold,
      v_row.critical_threshold, v_row.resolve_threshold, v_row.for_s, v_row.minimum_sample, v_row.minimum_change, v_row.scope,
      v_row.group_by, v_row.group_limit, v_row.no_data, v_row.renotify_s, v_row.severity, v_row.is_enabled,
      v_row.budget_id, v_row.description, v_row.runbook_url, v_row.labels
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
      description = v_row.description, runbook_url = v_row.runbook_url, labels = v_row.labels
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

create function observability_internal.describe_budget(budget observability_internal.budgets) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'budget_id', budget.budget_id, 'name', budget.name, 'amount', budget.amount::text, 'period', budget.period,
    'timezone', budget.timezone, 'scope', budget.scope, 'steps', budget.steps::text[],
    'forecast_step', budget.forecast_step::text, 'is_enabled', budget.is_enabled, 'created_at', budget.created_at,
    'created_by', budget.created_by, 'updated_at', budget.updated_at, 'updated_by', budget.updated_by,
    'channels', (
      select coalesce(jsonb_agg(distinct rc.channel_id), '[]')
      from observability_internal.alert_rule_channels as rc
      inner join observability_internal.alert_rules as r on rc.rule_id = r.rule_id
      where r.budget_id = budget.budget_id and r.is_managed
    ),
    'used', (
      select trim_scale(s.value)::text
      from observability_internal.alert_states as s
      inner join observability_internal.alert_rules as r on s.rule_id = r.rule_id
      where r.budget_id = budget.budget_id and r.is_managed and r.metric = 'budget_used' and s.group_key = ''
    ),
    'forecast', (
      select trim_scale(round(s.value, 6))::text
      from observability_internal.alert_states as s
      inner join observability_internal.alert_rules as r on s.rule_id = r.rule_id
      where r.budget_id = budget.budget_id and r.is_managed and r.metric = 'budget_forecast' and s.group_key = ''
    )
  );
$$;

comment on function observability_internal.describe_budget is 'A budget with its channels and the shares of it that are used and expected; decimals as text.';
revoke execute on function observability_internal.describe_budget from public;
grant execute on function observability_internal.describe_budget to authenticated, service_role;

create function observability_internal.keep_budget_rule(
  budget observability_internal.budgets, metric text, is_wanted boolean, channels jsonb
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule_id bigint;
  v_name constant text := case metric when 'budget_used' then 'Budget ' || budget.name else 'Forecast of budget ' || budget.name end;
  v_steps constant numeric[] := case metric when 'budget_used' then budget.steps end;
begin
  if not is_wanted then
    delete from observability_internal.alert_rules as r
    where r.budget_id = budget.budget_id and r.metric = keep_budget_rule.metric and r.is_managed;
    return;
  end if;
  update observability_internal.alert_rules as r
  set
    name = v_name, threshold = coalesce(v_steps[1], budget.forecast_step), steps = v_steps, scope = budget.scope,
    period = budget.period, timezone = budget.timezone, is_enabled = budget.is_enabled
  where r.budget_id = budget.budget_id and r.metric = keep_budget_rule.metric and r.is_managed
  returning r.rule_id into v_rule_id;
  if not found then
    insert into observability_internal.alert_rules as r (
      name, metric, window_s, period, timezone, threshold, steps, scope, is_enabled, budget_id, is_managed
    )
    values (
      v_name, keep_budget_rule.metric,
      case budget.period when 'day' then 86400 when 'week' then 604800 else 2678400 end, budget.period, budget.timezone,
      coalesce(v_steps[1], budget.forecast_step), v_steps, budget.scope, budget.is_enabled, budget.budget_id, true
    )
    returning r.rule_id into v_rule_id;
  end if;
  if channels is not null then
    perform observability_internal.set_rule_channels(v_rule_id, channels);
  end if;
end;
$$;

comment on function observability_internal.keep_budget_rule is 'Makes a budget''s rule what the budget says, or removes it.';
revoke execute on function observability_internal.keep_budget_rule from public;
grant execute on function observability_internal.keep_budget_rule to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_budget(budget jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability_internal.budgets;
  v_channels constant jsonb := budget -> 'channels';
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(
    budget, '{budget_id,name,amount,period,timezone,scope,steps,forecast_step,is_enabled,channels}', 'budget'
  );
  if budget ->> 'budget_id' is not null then
    select * into v_row from observability_internal.budgets as b where b.budget_id = (budget ->> 'budget_id')::bigint for update;
    if not found then
      raise exception 'there is no budget %', left(budget ->> 'budget_id', 20) using errcode = '22023';
    end if;
  end if;
  v_row := jsonb_populate_record(
    v_row,
    case when v_row.budget_id is null then
      '{"period": "month", "timezone": "UTC", "steps": [0.5, 0.8, 0.9, 1], "forecast_step": 1, "is_enabled": true}'::jsonb
    else '{}' end || budget
  );
  v_row.scope := observability_internal.normalize_scope(v_row.scope);
  if v_row.budget_id is null then
    insert into observability_internal.budgets as b (name, amount, period, timezone, scope, steps, forecast_step, is_enabled)
    values (
      v_row.name, v_row.amount, v_row.period, v_row.timezone, v_row.scope, v_row.steps, v_row.forecast_step,
      v_row.is_enabled
    )
    returning b.* into v_row;
  else
    update observability_internal.budgets as b
    set
      name = v_row.name, amount = v_row.amount, period = v_row.period, timezone = v_row.timezone, scope = v_row.scope,
      steps = v_row.steps, forecast_step = v_row.forecast_step, is_enabled = v_row.is_enabled
    where b.budget_id = v_row.budget_id
    returning b.* into v_row;
  end if;
  perform observability_internal.keep_budget_rule(v_row, 'budget_used', true, v_channels);
  perform observability_internal.keep_budget_rule(v_row, 'budget_forecast', v_row.forecast_step is not null, v_channels);
  return observability_internal.describe_budget(v_row);
end;
$$;

comment on function observability.save_budget is
'Adds a budget with its rules, or changes the given keys of the one with this budget_id. Ops only. Returns the '
'budget.';
revoke execute on function observability.save_budget from public;
grant execute on function observability.save_budget to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.delete_budget(budget_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability_internal.budgets as b where b.budget_id = delete_budget.budget_id;
  return found;
end;
$$;

comment on function observability.delete_budget is 'Deletes a budget with its rules; its alerts stay. Ops only. True when there was one.';
revoke execute on function observability.delete_budget from public;
grant execute on function observability.delete_budget to authenticated, service_role;
