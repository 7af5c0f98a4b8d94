import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/** Asks every `HOST PORT` for a page, and says for each whether its certificate is accepted. */
public class Client {
    public static void main(String[] pairs) throws Exception {
        for (int place = 0; place + 1 < pairs.length; place += 2) {
            System.out.println(pairs[place] + " " + ask(pairs[place], Integer.parseInt(pairs[place + 1])));
        }
    }

    private static String ask(String host, int port) throws Exception {
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        Socket plain = new Socket(host.contains(":") ? "::1" : "127.0.0.1", port);
        plain.setSoTimeout(20_000);
        try (SSLSocket secure = (SSLSocket) factory.createSocket(plain, host, port, true)) {
            SSLParameters parameters = secure.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            secure.setSSLParameters(parameters);
            secure.startHandshake();
            secure.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
            InputStream input = secure.getInputStream();
            String answer = new String(input.readAllBytes(), StandardCharsets.US_ASCII);
            return answer.endsWith("\r\n\r\nok") ? "accepted" : "answered " + answer;
        } catch (SSLException error) {
            return "refused: " + error.getMessage();
        }
    }
}
