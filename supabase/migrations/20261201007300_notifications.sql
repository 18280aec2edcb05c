-- The outbox: workers claim due messages, send them and report how it went.
-- Locks: none to apply, it only creates. At run time row locks on the messages taken; it waits for nobody.

create function observability_internal.max_notification_attempts() returns integer
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select 15;
$$;

comment on function observability_internal.max_notification_attempts is 'Attempts before a message is dead: about five hours with the delays below.';
revoke execute on function observability_internal.max_notification_attempts from public;
grant execute on function observability_internal.max_notification_attempts to service_role;

-- Waits of 5 s, 10 s, 20 s … at most an hour; the upper half of each is random, so that retries do not come in step.
create function observability_internal.notification_delay(attempts integer) returns interval
language sql
volatile
security invoker
set search_path = ''
as $$
  select make_interval(secs => least(5 * 2 ^ (attempts - 1), 3600) * (0.5 + random() / 2));
$$;

comment on function observability_internal.notification_delay is 'How long to wait after that number of failed attempts.';
revoke execute on function observability_internal.notification_delay from public;
grant execute on function observability_internal.notification_delay to service_role;

create function observability_internal.has_vault() returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select from pg_catalog.pg_class as c
    inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
    where n.nspname = 'vault' and c.relname = 'decrypted_secrets'
  );
$$;

comment on function observability_internal.has_vault is 'Whether Supabase Vault is present.';
revoke execute on function observability_internal.has_vault from public;
grant execute on function observability_internal.has_vault to authenticated, service_role;

-- Security definer: the worker's role may not read Vault everywhere; this gives it the channels' own secrets only.
create function observability_internal.read_channel_vault(vault_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_secret text;
begin
  if not observability_internal.has_vault() or not exists (
    select from observability_internal.channel_secrets as s where s.vault_id = read_channel_vault.vault_id
  ) then
    return null;
  end if;
  execute format('select s.decrypted_secret from %I.decrypted_secrets as s where s.id = $1', 'vault') into v_secret using vault_id;
  return v_secret::jsonb;
end;
$$;

comment on function observability_internal.read_channel_vault is 'Address and signing secret of a channel from Supabase Vault; null where there is none.';
revoke execute on function observability_internal.read_channel_vault from public;
grant execute on function observability_internal.read_channel_vault to service_role;

create function observability_internal.bury_notifications(as_of timestamptz) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  -- Messages that can never be sent are dead: their last lease expired, or their channel is deleted or disabled.
  with hopeless as (
    select
      n.notification_id,
      case
        when n.channel_id is null then 'the channel was deleted'
        when not c.is_enabled then 'the channel is switched off'
        when s.channel_id is null then 'the channel has no address'
        else 'the worker vanished during the last attempt'
      end as reason
    from observability_internal.notifications as n
    left join observability_internal.notification_channels as c on n.channel_id = c.channel_id
    left join observability_internal.channel_secrets as s on n.channel_id = s.channel_id
    where n.state = 'pending' and coalesce(n.leased_until, '-infinity') <= as_of
      and (
        c.channel_id is null or not c.is_enabled or s.channel_id is null
        or n.attempts >= observability_internal.max_notification_attempts()
      )
    for update of n skip locked
  )
  update observability_internal.notifications as n
  set state = 'dead', last_error = h.reason, leased_by = null, leased_until = null
  from hopeless as h
  where n.notification_id = h.notification_id;
$$;

comment on function observability_internal.bury_notifications is 'Marks as dead what can never be sent, with the reason.';
revoke execute on function observability_internal.bury_notifications from public;
grant execute on function observability_internal.bury_notifications to service_role;

create function observability_internal.due_notifications(as_of timestamptz) returns setof bigint
language sql
stable
security invoker
set search_path = ''
as $$
  with due as materialized (
    select n.notification_id, n.channel_id, n.next_attempt_at
    from observability_internal.notifications as n
    where n.state = 'pending' and n.next_attempt_at <= as_of and coalesce(n.leased_until, '-infinity') <= as_of
      -- A channel hears of an alert in the order in which it happened.
      and not exists (
        select from observability_internal.notifications as earlier
        where earlier.alert_id = n.alert_id and earlier.channel_id = n.channel_id
          and earlier.sequence < n.sequence and earlier.state = 'pending'
      )
  ),
  spent as (
    select n.channel_id, count(*) as attempts
    from observability_internal.notifications as n
    where n.last_attempt_at > as_of - interval '1 minute' and n.channel_id in (select d.channel_id from due as d)
    group by n.channel_id
  )
  -- Only the leader sends, so its own count is enough: two workers at once might pass the rate for a moment.
  select d.notification_id
  from (
    select
      due.*, row_number() over (partition by due.channel_id order by due.next_attempt_at, due.notification_id) as place
    from due
  ) as d
  inner join observability_internal.notification_channels as c on d.channel_id = c.channel_id
  left join spent as s on d.channel_id = s.channel_id
  where d.place <= c.max_per_minute - coalesce(s.attempts, 0);
$$;

comment on function observability_internal.due_notifications is
'The messages that may leave now: in order for each alert and channel, and within the rate of the channel.';
revoke execute on function observability_internal.due_notifications from public;
grant execute on function observability_internal.due_notifications to service_role;

create function observability.claim_notifications(
  worker text, max_count integer default 20, lease_s integer default 60, as_of timestamptz default null
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(claim_notifications.as_of, clock_timestamp());
  v_claimed jsonb;
begin
  if coalesce(claim_notifications.worker, '') = '' then
    raise exception 'a worker has a name' using errcode = '22023';
  end if;
  if max_count is null or max_count not between 1 and 1000 or lease_s is null or lease_s not between 1 and 3600 then
    raise exception 'max_count is from 1 to 1000 and lease_s from 1 to 3600' using errcode = '22023';
  end if;

  perform observability_internal.bury_notifications(v_now);
  with taken as (
    select n.notification_id
    from observability_internal.notifications as n
    where n.notification_id in (select d.notification_id from observability_internal.due_notifications(v_now) as d (notification_id))
      and n.state = 'pending' and coalesce(n.leased_until, '-infinity') <= v_now
    order by n.next_attempt_at, n.notification_id
    limit claim_notifications.max_count
    for update of n skip locked
  ),
  claimed as (
    update observability_internal.notifications as n
    set
      attempts = n.attempts + 1, leased_by = claim_notifications.worker, last_attempt_at = v_now,
      leased_until = v_now + make_interval(secs => claim_notifications.lease_s)
    from taken as t
    where n.notification_id = t.notification_id
    returning n.*
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'notification_id', n.notification_id, 'idempotency_key', n.idempotency_key, 'attempt', n.attempts,
          'event', n.event, 'channel_name', n.channel_name, 'kind', c.kind, 'payload', n.payload, 'sealed', s.sealed,
          'target_url', coalesce(s.target_url, v.secret ->> 'target_url'),
          'signing_secret', coalesce(s.signing_secret, v.secret ->> 'signing_secret')
        )
        order by n.next_attempt_at, n.notification_id
      ), '[]'
    )
  into v_claimed
  from claimed as n
  inner join observability_internal.notification_channels as c on n.channel_id = c.channel_id
  inner join observability_internal.channel_secrets as s on n.channel_id = s.channel_id
  cross join lateral (select observability_internal.read_channel_vault(s.vault_id) as secret) as v;
  return v_claimed;
end;
$$;

comment on function observability.claim_notifications is
'Leases due messages to a worker at each channel''s rate: [{notification_id, idempotency_key, attempt, event, '
'channel_name, kind, payload, sealed, target_url, signing_secret}].';
revoke execute on function observability.claim_notifications from public;
grant execute on function observability.claim_notifications to service_role;

create function observability.finish_notification(
  notification_id bigint, worker text, ok boolean, error text default null, is_final boolean default false,
  as_of timestamptz default null
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(finish_notification.as_of, clock_timestamp());
  v_message observability_internal.notifications;
  v_is_dead boolean;
begin
  if finish_notification.ok is null then
    raise exception 'ok is true or false' using errcode = '22023';
  end if;
  select * into v_message
  from observability_internal.notifications as n
  where n.notification_id = finish_notification.notification_id
  for update;
  if not found then
    raise exception 'there is no message %', finish_notification.notification_id using errcode = '22023';
  end if;
  -- A delivered message stays delivered, even past the lease. A failure counts only for the lease holder.
  if v_message.state = 'sent' or not ok and v_message.leased_by is distinct from finish_notification.worker then
    return jsonb_build_object('state', v_message.state, 'is_stale', true);
  end if;
  v_is_dead := not ok
    and (coalesce(is_final, false) or v_message.attempts >= observability_internal.max_notification_attempts());
  update observability_internal.notifications as n
  set
    state = case when ok then 'sent' when v_is_dead then 'dead' else 'pending' end,
    sent_at = case when ok then v_now end,
    last_error = case when not ok then left(coalesce(error, 'unknown'), 500) end,
    next_attempt_at = case
      when ok or v_is_dead then n.next_attempt_at
      else v_now + observability_internal.notification_delay(n.attempts)
    end,
    leased_by = null, leased_until = null
  where n.notification_id = v_message.notification_id
  returning n.* into v_message;
  return jsonb_build_object(
    'state', v_message.state, 'attempts', v_message.attempts, 'is_stale', false,
    'next_attempt_at', case when v_message.state = 'pending' then v_message.next_attempt_at end
  );
end;
$$;

comment on function observability.finish_notification is
'Records how an attempt ended: sent; pending again after a growing delay; or dead, at once where the failure is '
'final.';
revoke execute on function observability.finish_notification from public;
grant execute on function observability.finish_notification to service_role;

-- Security definer: ops may send a dead message again without a right to write the outbox.
create function observability.resend_notification(notification_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  update observability_internal.notifications as n
  set state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), leased_by = null, leased_until = null
  where n.notification_id = resend_notification.notification_id and n.state = 'dead' and n.channel_id is not null;
  return found;
end;
$$;

comment on function observability.resend_notification is
'Puts a dead message back into the outbox, with the same idempotency key. Ops only. False where none was dead.';
revoke execute on function observability.resend_notification from public;
grant execute on function observability.resend_notification to authenticated, service_role;

-- Security definer: ops may try a channel without a right to write the outbox.
create function observability.send_test_notification(channel_id bigint default null, rule_id bigint default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule observability_internal.alert_rules;
  v_sent jsonb;
begin
  perform observability_internal.require_access('{ops,service}');
  if num_nonnulls(send_test_notification.channel_id, send_test_notification.rule_id) <> 1 then
    raise exception 'a test is of a channel or of a rule' using errcode = '22023';
  end if;
  if send_test_notification.rule_id is not null then
    select * into v_rule from observability_internal.alert_rules as r where r.rule_id = send_test_notification.rule_id;
    if not found then
      raise exception 'there is no rule %', send_test_notification.rule_id using errcode = '22023';
    end if;
  end if;
  with targets as (
    select c.*
    from observability_internal.notification_channels as c
    where c.channel_id = send_test_notification.channel_id or exists (
      select from observability_internal.alert_rule_channels as rc
      where rc.rule_id = send_test_notification.rule_id and rc.channel_id = c.channel_id
    )
  ),
  written as (
    insert into observability_internal.notifications as n
    (channel_id, channel_name, event, payload, next_attempt_at, created_at)
    select
      t.channel_id, t.name, 'test',
      jsonb_build_object(
        'schema', 'treering.alert/1', 'event', 'test', 'occurred_at', clock_timestamp(), 'channel', t.name,
        'rule', case when v_rule.rule_id is not null then observability_internal.describe_rule(v_rule) end
      ),
      clock_timestamp(), clock_timestamp()
    from targets as t
    returning n.notification_id, n.channel_name
  )
  select coalesce(jsonb_agg(to_jsonb(w) order by w.notification_id), '[]') into v_sent from written as w;
  return v_sent;
end;
$$;

comment on function observability.send_test_notification is
'Writes a marked test message for a channel, or for every channel of a rule: [{notification_id, channel_name}]. Ops '
'only.';
revoke execute on function observability.send_test_notification from public;
grant execute on function observability.send_test_notification to authenticated, service_role;

create function observability.get_notification_states(notification_ids jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  return coalesce((
    select jsonb_agg(jsonb_build_object(
      'notification_id', n.notification_id, 'channel_name', n.channel_name, 'state', n.state, 'attempts', n.attempts,
      'last_error', n.last_error
    ) order by n.notification_id)
    from observability_internal.notifications as n
    where n.notification_id in (select e.number::bigint from jsonb_array_elements_text(notification_ids) as e (number))
  ), '[]');
end;
$$;

comment on function observability.get_notification_states is 'What became of messages: [{notification_id, channel_name, state, attempts, last_error}].';
revoke execute on function observability.get_notification_states from public;
grant execute on function observability.get_notification_states to authenticated, service_role;
