-- How ops edit the channels that messages go to.
-- Locks: none; it only creates.

create function observability_internal.describe_channel(channel observability_internal.notification_channels) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'channel_id', channel.channel_id, 'name', channel.name, 'kind', channel.kind,
    'target_hint', channel.target_hint, 'max_per_minute', channel.max_per_minute,
    'max_per_hour', channel.max_per_hour, 'is_enabled', channel.is_enabled,
    'created_at', channel.created_at, 'created_by', channel.created_by, 'updated_at', channel.updated_at,
    'updated_by', channel.updated_by
  );
$$;

comment on function observability_internal.describe_channel is 'A channel as ops see it: of the address only the host.';
revoke execute on function observability_internal.describe_channel from public;
grant execute on function observability_internal.describe_channel to authenticated, service_role;

-- Security definer: the address and the secret go where ops can write but nobody in the app can read.
create function observability_internal.set_channel_target(
  channel_id bigint, target_url text, signing_secret text, sealed text, target_hint text
) returns void
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_old observability_internal.channel_secrets;
  v_vault_id uuid;
  v_document jsonb;
begin
  perform observability_internal.require_access('{ops,service}');
  select * into v_old
  from observability_internal.channel_secrets as s
  where s.channel_id = set_channel_target.channel_id;
  if v_old.channel_id is null and num_nonnulls(target_url, sealed) = 0 then
    raise exception 'a channel needs its target' using errcode = '22023';
  end if;
  if num_nonnulls(target_url, signing_secret, sealed) = 0 then
    return;
  end if;
  if sealed is not null then
    if num_nonnulls(target_url, signing_secret) > 0 or sealed !~ '^[A-Za-z0-9_=-]+$'
      or char_length(sealed) not between 40 and 8000
      or coalesce(char_length(set_channel_target.target_hint), 0) not between 1 and 253
    then
      raise exception 'a sealed target comes alone, with its target_hint' using errcode = '22023';
    end if;
  elsif not observability_internal.has_vault() then
    raise exception 'an address is stored encrypted: set TREERING_SECRET_KEY for the app and the worker'
      using errcode = '22023', hint = 'Make a key with: treering secret-key';
  else
    v_document := coalesce(observability_internal.read_channel_vault(v_old.vault_id), '{}')
      || jsonb_strip_nulls(jsonb_build_object('target_url', target_url, 'signing_secret', signing_secret));
    if coalesce(v_document ->> 'target_url', '') !~ '^[a-z][a-z0-9+.-]*://[^\s]+$' then
      raise exception 'a channel needs its target_url' using errcode = '22023';
    end if;
    execute format('select %I.create_secret($1, $2)', 'vault') into v_vault_id
    using v_document::text, format('treering channel %s %s', channel_id, gen_random_uuid());
  end if;
  insert into observability_internal.channel_secrets as s (channel_id, sealed, vault_id)
  values (set_channel_target.channel_id, set_channel_target.sealed, v_vault_id)
  on conflict (channel_id) do update
  set target_url = null, signing_secret = null, sealed = excluded.sealed, vault_id = excluded.vault_id, changed_at = now();
  if v_old.vault_id is not null then
    execute format('delete from %I.secrets where id = $1', 'vault') using v_old.vault_id;
  end if;
  update observability_internal.notification_channels as c
  set target_hint = coalesce(
    set_channel_target.target_hint,
    case c.kind
      when 'webhook' then lower(substring(v_document ->> 'target_url' from '^https?://(\[[^\]/?#]*\]|[^:/?#]+)'))
      else substring(v_document ->> 'target_url' from '^[a-z0-9+.-]+')
    end
  )
  where c.channel_id = set_channel_target.channel_id;
end;
$$;

comment on function observability_internal.set_channel_target is
'Stores a channel''s address and secret, sealed by the caller or in Supabase Vault; nothing given keeps what is '
'there. Ops only.';
revoke execute on function observability_internal.set_channel_target from public;
grant execute on function observability_internal.set_channel_target to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_notification_channel(channel jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_secrets constant text[] := array['target_url', 'signing_secret', 'sealed', 'target_hint'];
  v_row observability_internal.notification_channels;
  v_secret text := channel ->> 'signing_secret';
  v_own_secret text;
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.check_keys(
    channel, '{channel_id,name,kind,target_url,signing_secret,sealed,target_hint,max_per_minute,max_per_hour,is_enabled}', 'channel'
  );
  if channel ->> 'channel_id' is null then
    v_row := jsonb_populate_record(
      null::observability_internal.notification_channels,
      '{"kind": "webhook", "is_enabled": true, "max_per_minute": 60}'::jsonb || (channel - v_secrets)
    );
    insert into observability_internal.notification_channels as c (name, kind, max_per_minute, max_per_hour, is_enabled)
    values (v_row.name, v_row.kind, v_row.max_per_minute, v_row.max_per_hour, v_row.is_enabled)
    returning c.* into v_row;
    if v_secret is null and channel ->> 'sealed' is null and v_row.kind = 'webhook' then
      v_own_secret := 'whsec_'
        || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64');
      v_secret := v_own_secret;
    end if;
  else
    select * into v_row
    from observability_internal.notification_channels as c
    where c.channel_id = (channel ->> 'channel_id')::bigint
    for update;
    if not found then
      raise exception 'there is no channel %', left(channel ->> 'channel_id', 20) using errcode = '22023';
    end if;
    v_row := jsonb_populate_record(v_row, channel - v_secrets);
    update observability_internal.notification_channels as c
    set
      name = v_row.name, kind = v_row.kind, max_per_minute = v_row.max_per_minute, max_per_hour = v_row.max_per_hour,
      is_enabled = v_row.is_enabled
    where c.channel_id = v_row.channel_id
    returning c.* into v_row;
  end if;
  perform observability_internal.set_channel_target(
    v_row.channel_id, channel ->> 'target_url', v_secret, channel ->> 'sealed', channel ->> 'target_hint'
  );
  select * into strict v_row
  from observability_internal.notification_channels as c
  where c.channel_id = v_row.channel_id;
  return observability_internal.describe_channel(v_row)
    || case when v_own_secret is null then '{}'::jsonb else jsonb_build_object('signing_secret', v_own_secret) end;
end;
$$;

comment on function observability.save_notification_channel is
'Adds a channel, or changes the given keys of the one with this channel_id. Ops only. The address comes sealed, or '
'goes to Supabase Vault. Returns the channel; a signing secret made here is shown this once.';
revoke execute on function observability.save_notification_channel from public;
grant execute on function observability.save_notification_channel to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.delete_notification_channel(channel_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  delete from observability_internal.notification_channels as c where c.channel_id = delete_notification_channel.channel_id;
  return found;
end;
$$;

comment on function observability.delete_notification_channel is
'Deletes a channel with its secret; rules lose it, waiting messages die. Ops only. True when there was one.';
revoke execute on function observability.delete_notification_channel from public;
grant execute on function observability.delete_notification_channel to authenticated, service_role;
