-- The page functions of the app: a range and filters in, one jsonb document out; costs travel as exact text. Compiling
-- a query (jit) would cost a page a second and save it nothing, so each function turns it off.
-- Locks: none; it only creates.

create function observability_internal.first_bucket(scope observability_internal.read_scope) returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when (scope).access in ('member', 'tenant') then (
      select min(r.bucket) from observability_internal.usage_by_user as r where r.user_key = any ((scope).user_keys)
    )
    else observability_internal.oldest_minute()
  end;
$$;

comment on function observability_internal.first_bucket is 'When data begin for the caller; null before the first call.';
revoke execute on function observability_internal.first_bucket from public;
grant execute on function observability_internal.first_bucket to authenticated, service_role;

create function observability_internal.page_frame(scope observability_internal.read_scope, begin_at timestamptz) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'access', case when (scope).access = 'service' then 'ops' else (scope).access end,
    'from_time', (scope).from_time, 'to_time', (scope).to_time, 'timezone', (scope).timezone,
    'generated_at', clock_timestamp(), 'data_begin_at', begin_at,
    'newest_event_at', case
      when (scope).access in ('member', 'tenant') then (
        select max(r.bucket) from observability_internal.usage_by_user as r where r.user_key = any ((scope).user_keys)
      )
      else observability_internal.newest_minute()
    end,
    'pending_rows', observability_internal.pending_rows(),
    'has_demo_data', exists (select from observability_internal.dimensions as d where d.environment = 'demo'),
    'options', (
      select jsonb_build_object(
        'models', coalesce(jsonb_agg(distinct d.model), '[]'), 'providers', coalesce(jsonb_agg(distinct d.provider), '[]'),
        'features', coalesce(jsonb_agg(distinct d.feature), '[]'),
        'environments', coalesce(jsonb_agg(distinct d.environment), '[]'),
        'operations', coalesce(jsonb_agg(distinct d.operation), '[]')
      ) || observability_internal.attribution_options()
      from observability_internal.dimensions as d
    )
  );
$$;

comment on function observability_internal.page_frame is
'What every page shows beside its figures: access, range, freshness, when data begin, filter options.';
revoke execute on function observability_internal.page_frame from public;
grant execute on function observability_internal.page_frame to authenticated, service_role;

create function observability_internal.page_head(
  scope observability_internal.read_scope, sums observability_internal.usage_sum[], users jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select observability_internal.page_frame(scope, observability_internal.first_bucket(scope)) || jsonb_build_object(
    'previous_from', (scope).previous_from, 'bucket', (scope).bucket,
    'totals', observability_internal.totals_document(
      sums, true, observability_internal.latency_totals(scope, (scope).from_time, (scope).to_time)
    ) || jsonb_strip_nulls(jsonb_build_object('users', page_head.users -> 'users')),
    'previous', observability_internal.totals_document(
      sums, false, observability_internal.latency_totals(scope, (scope).previous_from, (scope).from_time)
    ) || jsonb_strip_nulls(jsonb_build_object('users', page_head.users -> 'previous_users'))
  );
$$;

comment on function observability_internal.page_head is
'What every page shows: access, range, freshness, filter options, totals and those of the period before; users where '
'they are given.';
revoke execute on function observability_internal.page_head from public;
grant execute on function observability_internal.page_head to authenticated, service_role;

create function observability_internal.grouped_series(
  scope observability_internal.read_scope, points observability_internal.usage_point[], users jsonb, attributed jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when (scope).group_by = 'user_id' then observability_internal.user_series(scope, 'user_id', array(
      select u.user_key
      from observability_internal.users as u
      where u.person_key in (select k.key::integer from jsonb_array_elements_text(grouped_series.users -> 'top_keys') as k (key))
    ))
    when observability_internal.is_attributed((scope).group_by) then observability_internal.user_series(
      scope, (scope).group_by, observability_internal.keys_of_rows((scope).group_by, attributed -> (scope).group_by)
    )
    else observability_internal.usage_series(points, (scope).group_by, (scope).by_tokens)
  end;
$$;

comment on function observability_internal.grouped_series is 'Points by bucket and the key asked for.';
revoke execute on function observability_internal.grouped_series from public;
grant execute on function observability_internal.grouped_series to authenticated, service_role;

create function observability.get_overview(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_page_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(v_scope, null);
  v_users constant jsonb := observability_internal.user_figures(v_scope, observability_internal.compare_users(v_scope));
  v_rows constant jsonb := observability_internal.usage_breakdown(v_figures.sums, '{model,feature}', v_scope.row_limit, false);
begin
  v_scope.percentiles := observability_internal.share_percentiles(v_scope, '{total,total}', '{f,t}');
  return observability_internal.page_head(v_scope, v_figures.sums, v_users) || jsonb_build_object(
    'series', observability_internal.latency_series(v_scope, v_figures.points, false),
    'top_models', coalesce(v_rows -> 'model', '[]'), 'top_features', coalesce(v_rows -> 'feature', '[]'),
    'top_users', v_users -> 'rows',
    -- A budget that has two rules in breach is one matter to look at.
    'firing_alerts', case when v_scope.access not in ('member', 'tenant') then (
      select count(distinct coalesce(-r.budget_id, a.alert_id))
      from observability_internal.alerts as a
      left join observability_internal.alert_rules as r using (rule_id)
      where a.state = 'firing' and observability_internal.scope_meets(a.scope || case
        when a.group_by is not null then jsonb_build_object(a.group_by, jsonb_build_array(a.group_key)) else '{}'
      end, filters)
    ) end
  );
end;
$$;

comment on function observability.get_overview is
'The Overview page: head, series, top models, features and users, firing alerts (null for members).';
revoke execute on function observability.get_overview from public;
grant execute on function observability.get_overview to authenticated, service_role;

create function observability.get_usage(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_page_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(
    v_scope, case when not observability_internal.is_attributed(v_scope.group_by) then v_scope.group_by end
  );
  v_compared constant observability_internal.compared_user[] := observability_internal.compare_users(v_scope);
  v_users jsonb;
  v_attributed jsonb;
  v_rows jsonb;
begin
  v_scope.by_tokens := true;
  v_users := observability_internal.user_figures(v_scope, v_compared);
  v_attributed := observability_internal.attributed_figures(
    v_scope, observability_internal.attributed_dimensions(), v_compared
  );
  v_rows := observability_internal.usage_breakdown(
    v_figures.sums, '{model,feature,operation,status}', v_scope.row_limit, true
  );
  return observability_internal.page_head(v_scope, v_figures.sums, v_users) || jsonb_build_object(
    'series', observability_internal.grouped_series(v_scope, v_figures.points, v_users, v_attributed),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'by_operation', coalesce(v_rows -> 'operation', '[]'), 'by_status', coalesce(v_rows -> 'status', '[]'),
    'by_user', v_users -> 'rows', 'by_tenant', coalesce(v_attributed -> 'tenant_id', '[]'),
    'by_tag', observability_internal.rows_by_tag(v_attributed)
  );
end;
$$;

comment on function observability.get_usage is
'The Usage page: head, series by group_by, rows by model, feature, operation, status, user, tenant and tag; those with '
'most tokens are named.';
revoke execute on function observability.get_usage from public;
grant execute on function observability.get_usage to authenticated, service_role;

create function observability.get_costs(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_scope constant observability_internal.read_scope := observability_internal.make_page_scope(
    from_time, to_time, filters
  );
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(
    v_scope, case when not observability_internal.is_attributed(v_scope.group_by) then v_scope.group_by end
  );
  v_compared constant observability_internal.compared_user[] := observability_internal.compare_users(v_scope);
  v_users constant jsonb := observability_internal.user_figures(v_scope, v_compared);
  v_attributed constant jsonb := observability_internal.attributed_figures(
    v_scope, observability_internal.attributed_dimensions(), v_compared
  );
  v_rows constant jsonb := observability_internal.usage_breakdown(
    v_figures.sums, '{model,feature,provider,environment}', v_scope.row_limit, false
  );
begin
  return observability_internal.page_head(v_scope, v_figures.sums, v_users) || jsonb_build_object(
    'series', observability_internal.grouped_series(v_scope, v_figures.points, v_users, v_attributed),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'by_provider', coalesce(v_rows -> 'provider', '[]'), 'by_environment', coalesce(v_rows -> 'environment', '[]'),
    'by_user', v_users -> 'rows', 'by_tenant', coalesce(v_attributed -> 'tenant_id', '[]'),
    'by_tag', observability_internal.rows_by_tag(v_attributed), 'repriced', observability_internal.latest_automatic_reprice(),
    'token_kinds', observability_internal.token_kinds(v_figures.sums),
    'model_fees', case when v_scope.access not in ('member', 'tenant') then observability_internal.model_fees(v_scope) end
  );
end;
$$;

comment on function observability.get_costs is
'The Costs page: head, series by group_by, rows by model, feature, provider, environment, user, tenant and tag; tokens by kind; fees; the last repricing.';
revoke execute on function observability.get_costs from public;
grant execute on function observability.get_costs to authenticated, service_role;

create function observability.get_performance(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set work_mem = '32MB'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_page_scope(from_time, to_time, filters);
  v_figures constant observability_internal.usage_figures := observability_internal.read_usage(v_scope, null);
begin
  v_scope.percentiles := observability_internal.share_percentiles(v_scope, '{total,total,model,feature}', '{f,t,f,f}');
  return observability_internal.page_head(
    v_scope, v_figures.sums, null
  ) || jsonb_build_object(
    'series', observability_internal.latency_series(v_scope, v_figures.points, true),
    'by_model', observability_internal.latency_breakdown(v_scope, v_figures.sums, 'model'),
    'by_feature', observability_internal.latency_breakdown(v_scope, v_figures.sums, 'feature'),
    'errors_by_type', observability_internal.errors_by_type(v_figures.sums),
    'routes', case when v_scope.access not in ('member', 'tenant') then observability_internal.route_figures(v_scope) end
  );
end;
$$;

comment on function observability.get_performance is
'The Performance page: head, percentiles by bucket, model and feature, errors by type, routes (null for members).';
revoke execute on function observability.get_performance from public;
grant execute on function observability.get_performance to authenticated, service_role;

create function observability.get_series(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '30s'
set work_mem = '32MB'
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_points observability_internal.usage_point[];
begin
  -- The pages group by model unless told otherwise; a series is one line.
  v_scope.group_by := case when filters ->> 'group_by' is not null then v_scope.group_by end;
  v_scope.by_user := v_scope.by_user or coalesce(observability_internal.is_attributed(v_scope.group_by), false);
  select array_agg(row(p.*)::observability_internal.usage_point) into v_points
  from (
    select
      c.bucket_start,
      case v_scope.group_by
        when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
        when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
        when 'user_id' then u.user_id when 'tenant_id' then a.tenant_id
        else case when v_scope.group_by like 'tags.%' then coalesce(a.tags ->> substr(v_scope.group_by, 6), '') end
      end as key,
      sum(c.requests) as requests, coalesce(sum(c.requests) filter (where d.status = 'error'), 0) as errors,
      sum(c.prompt_tokens) as prompt_tokens, sum(c.completion_tokens) as completion_tokens,
      sum(c.cached_tokens) as cached_tokens, sum(c.reasoning_tokens) as reasoning_tokens, sum(c.cost) as cost,
      sum(c.unpriced_requests + c.fallback_requests) as unpriced_requests
    from observability_internal.usage_cells(v_scope, v_scope.from_time, v_scope.to_time, true) as c
    inner join observability_internal.dimensions as d using (dim_id)
    left join observability_internal.users as u
      on observability_internal.is_attributed(v_scope.group_by) and c.user_key = u.user_key
    left join observability_internal.attributions as a on u.attribution_id = a.attribution_id
    group by 1, 2
  ) as p;
  return jsonb_build_object(
    'bucket', v_scope.bucket, 'timezone', v_scope.timezone, 'from_time', v_scope.from_time, 'to_time', v_scope.to_time,
    'series', observability_internal.usage_series(coalesce(v_points, '{}'), v_scope.group_by, false)
  );
end;
$$;

comment on function observability.get_series is 'Calls, tokens, errors and cost by bucket and, where group_by is given, by the eight costliest keys.';
revoke execute on function observability.get_series from public;
grant execute on function observability.get_series to authenticated, service_role;
