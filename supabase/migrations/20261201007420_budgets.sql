-- How ops edit budgets, and the two rules that each of them keeps.
-- Locks: none; it only creates.

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

-- What is spent is a fact: it is told at once, and only a correction takes it back. A forecast must hold for a while. As
-- docs/alerts.md; how the lengths were chosen is in ADR 29.
create function observability_internal.budget_calm(
  metric text, period text, out for_s integer, out keep_firing_s integer, out cooldown_s integer
)
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select c.for_s, c.keep_firing_s, c.cooldown_s
  from (
    values
    ('budget_used', null, 0, 3600, 0),
    ('budget_forecast', 'day', 900, 3600, 21600),
    ('budget_forecast', 'week', 10800, 21600, 86400),
    ('budget_forecast', 'month', 43200, 86400, 604800)
  ) as c (metric, period, for_s, keep_firing_s, cooldown_s)
  where c.metric = budget_calm.metric and coalesce(c.period = budget_calm.period, true);
$$;

comment on function observability_internal.budget_calm is 'How slow the rule of a budget is to fire, to end and to fire again, in seconds.';
revoke execute on function observability_internal.budget_calm from public;
grant execute on function observability_internal.budget_calm to authenticated, service_role;

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
  v_first constant numeric := coalesce(v_steps[1], budget.forecast_step);
  v_calm record;
begin
  select * into v_calm from observability_internal.budget_calm(keep_budget_rule.metric, budget.period);
  if not is_wanted then
    delete from observability_internal.alert_rules as r
    where r.budget_id = budget.budget_id and r.metric = keep_budget_rule.metric and r.is_managed;
    return;
  end if;
  update observability_internal.alert_rules as r
  set
    name = v_name, threshold = v_first, steps = v_steps, scope = budget.scope, period = budget.period,
    timezone = budget.timezone, is_enabled = budget.is_enabled, resolve_threshold = v_first * 0.95, for_s = v_calm.for_s,
    keep_firing_s = v_calm.keep_firing_s, cooldown_s = v_calm.cooldown_s
  where r.budget_id = budget.budget_id and r.metric = keep_budget_rule.metric and r.is_managed
  returning r.rule_id into v_rule_id;
  if not found then
    insert into observability_internal.alert_rules as r (
      name, metric, window_s, period, timezone, threshold, steps, scope, is_enabled, budget_id, is_managed, resolve_threshold,
      for_s, keep_firing_s, cooldown_s
    )
    values (
      v_name, keep_budget_rule.metric,
      case budget.period when 'day' then 86400 when 'week' then 604800 else 2678400 end, budget.period, budget.timezone,
      v_first, v_steps, budget.scope, budget.is_enabled, budget.budget_id, true, v_first * 0.95, v_calm.for_s,
      v_calm.keep_firing_s, v_calm.cooldown_s
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
      '{"period": "month", "timezone": "UTC", "steps": [0.8, 1], "forecast_step": 1, "is_enabled": true}'::jsonb
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
