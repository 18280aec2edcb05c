-- How ops edit routes and mute times.
-- Locks: none; it only creates.

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_alert_route(route jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability_internal.alert_routes;
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(route, '{route_id,name,severity,labels,scope,after_s,channels,is_enabled}', 'route');
  if route ->> 'route_id' is not null then
    select * into v_row from observability_internal.alert_routes as o where o.route_id = (route ->> 'route_id')::bigint for update;
    if not found then
      raise exception 'there is no route %', left(route ->> 'route_id', 20) using errcode = '22023';
    end if;
  end if;
  v_row := jsonb_populate_record(
    v_row,
    case when v_row.route_id is null then '{"labels": {}, "scope": {}, "after_s": 0, "is_enabled": true}'::jsonb else '{}' end || route
  );
  v_row.scope := observability_internal.normalize_scope(v_row.scope);
  if exists (
    select from unnest(v_row.channels) as c (channel_id)
    where not exists (
      select from observability_internal.notification_channels as n where n.channel_id = c.channel_id
    )
  ) then
    raise exception 'a route goes to channels that exist' using errcode = '22023';
  end if;
  if v_row.route_id is null then
    insert into observability_internal.alert_routes as o (name, severity, labels, scope, after_s, channels, is_enabled)
    values (v_row.name, v_row.severity, v_row.labels, v_row.scope, v_row.after_s, v_row.channels, v_row.is_enabled)
    returning o.* into v_row;
  else
    update observability_internal.alert_routes as o
    set
      name = v_row.name, severity = v_row.severity, labels = v_row.labels, scope = v_row.scope, after_s = v_row.after_s,
      channels = v_row.channels, is_enabled = v_row.is_enabled
    where o.route_id = v_row.route_id
    returning o.* into v_row;
  end if;
  return to_jsonb(v_row);
end;
$$;

comment on function observability.save_alert_route is
'Adds a route, or changes the given keys of the one with this route_id: {name, severity, labels, scope, after_s, channels, '
'is_enabled}. Ops only. Returns the route.';
revoke execute on function observability.save_alert_route from public;
grant execute on function observability.save_alert_route to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.delete_alert_route(route_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability_internal.alert_routes as o where o.route_id = delete_alert_route.route_id;
  return found;
end;
$$;

comment on function observability.delete_alert_route is 'Deletes a route. Ops only. True when there was one.';
revoke execute on function observability.delete_alert_route from public;
grant execute on function observability.delete_alert_route to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_alert_mute(mute jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_row observability_internal.alert_mutes;
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(
    mute, '{mute_id,name,rules,labels,starts_at,ends_at,weekdays,from_time,to_time,timezone,is_enabled}', 'mute time'
  );
  if mute ->> 'mute_id' is not null then
    select * into v_row from observability_internal.alert_mutes as m where m.mute_id = (mute ->> 'mute_id')::bigint for update;
    if not found then
      raise exception 'there is no mute time %', left(mute ->> 'mute_id', 20) using errcode = '22023';
    end if;
  end if;
  v_row := jsonb_populate_record(
    v_row,
    case when v_row.mute_id is null then '{"rules": [], "labels": {}, "timezone": "UTC", "is_enabled": true}'::jsonb
    else '{}' end || mute
  );
  if v_row.mute_id is null then
    insert into observability_internal.alert_mutes as m
    (name, rules, labels, starts_at, ends_at, weekdays, from_time, to_time, timezone, is_enabled)
    values (
      v_row.name, v_row.rules, v_row.labels, v_row.starts_at, v_row.ends_at, v_row.weekdays, v_row.from_time, v_row.to_time,
      v_row.timezone, v_row.is_enabled
    )
    returning m.* into v_row;
  else
    update observability_internal.alert_mutes as m
    set
      name = v_row.name, rules = v_row.rules, labels = v_row.labels, starts_at = v_row.starts_at, ends_at = v_row.ends_at,
      weekdays = v_row.weekdays, from_time = v_row.from_time, to_time = v_row.to_time, timezone = v_row.timezone,
      is_enabled = v_row.is_enabled
    where m.mute_id = v_row.mute_id
    returning m.* into v_row;
  end if;
  return to_jsonb(v_row);
end;
$$;

comment on function observability.save_alert_mute is
'Adds a mute time, or changes the given keys of the one with this mute_id: {name, rules, labels, starts_at, ends_at, weekdays, '
'from_time, to_time, timezone, is_enabled}. Ops only. Returns it.';
revoke execute on function observability.save_alert_mute from public;
grant execute on function observability.save_alert_mute to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.delete_alert_mute(mute_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability_internal.alert_mutes as m where m.mute_id = delete_alert_mute.mute_id;
  return found;
end;
$$;

comment on function observability.delete_alert_mute is 'Deletes a mute time. Ops only. True when there was one.';
revoke execute on function observability.delete_alert_mute from public;
grant execute on function observability.delete_alert_mute to authenticated, service_role;
